#include "kernels/base/error.h"
#include "tests/kernels/rope_case.h"
#include "tests/support/targets.h"

namespace tradewind::tests {
namespace {

void apply(std::vector<float>& x, const std::vector<std::int32_t>& position, std::size_t heads, std::size_t D,
           std::size_t stride, const RopeOptions& options, int threads) {
  apply_rope(x, position, heads, D, stride, options, {.threads = threads});
}

}  // namespace

BOOST_AUTO_TEST_CASE(rotation_matches_float64) {
  on_every_target([](const std::string& target) {
    for (const RopeCase& c : rope_cases())
      for (const int threads : {1, 2, 3}) check_rope(target, c, DType::kFloat32, {.threads = threads});
  });
}

BOOST_AUTO_TEST_CASE(a_row_alone_gets_the_bits_it_has_among_others) {
  for (const RopeLayout layout : {RopeLayout::kHalf, RopeLayout::kInterleaved}) {
    const RopeOptions options{.layout = layout};
    const std::size_t N = 300, D = 64;
    auto x = random_values(N * D, 1);
    const auto original = x;
    std::vector<std::int32_t> position(N);
    for (std::size_t n = 0; n < N; ++n) position[n] = static_cast<std::int32_t>(n);
    apply(x, position, 1, D, D, options, 2);
    for (std::size_t n = 0; n < N; n += 37) {
      std::vector<float> row(original.begin() + static_cast<std::ptrdiff_t>(n * D),
                             original.begin() + static_cast<std::ptrdiff_t>((n + 1) * D));
      apply(row, {position[n]}, 1, D, D, options, 1);
      BOOST_TEST(row == std::vector<float>(x.begin() + static_cast<std::ptrdiff_t>(n * D),
                                           x.begin() + static_cast<std::ptrdiff_t>((n + 1) * D)));
    }
  }
}

BOOST_AUTO_TEST_CASE(backward_is_the_numeric_gradient) {
  for (const RopeLayout layout : {RopeLayout::kHalf, RopeLayout::kInterleaved}) {
    const std::size_t D = 8, N = 3;
    RopeOptions options{.layout = layout};
    const std::vector<std::int32_t> position = {0, 3, 17};
    std::vector<double> x = widen(random_values(N * D, 1));
    auto dy = random_values(N * D, 2);
    const auto up = widen(dy);
    const auto numeric = numeric_gradient(x, [&] {
      const auto y = rope_oracle(x, position, 1, D, D, options);
      double sum = 0;
      for (std::size_t i = 0; i < y.size(); ++i) sum += y[i] * up[i];
      return sum;
    });
    options.backward = true;
    apply(dy, position, 1, D, D, options, 1);
    check_close("dx", dy, numeric, 1e-6);
  }
}

BOOST_AUTO_TEST_CASE(bad_arguments_throw) {
  std::vector<float> x(16);
  BOOST_CHECK_THROW(apply(x, {0}, 1, 7, 8, {}, 1), InternalError);
  BOOST_CHECK_THROW(apply(x, {0}, 2, 8, 8, {}, 1), InternalError);
  BOOST_CHECK_THROW(apply(x, {-1}, 1, 8, 8, {}, 1), InternalError);
  BOOST_CHECK_THROW(apply(x, {0}, 1, 8, 8, {.dtype = DType::kBFloat16}, 1), DeviceError);
}

}  // namespace tradewind::tests
