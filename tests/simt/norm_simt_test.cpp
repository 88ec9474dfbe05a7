// The CUDA kernels of layer norm, RMS norm and the fused residual branch on the executor: what the CPU must get right too, for
// every shape of row that they are compiled for, in float32 with the CPU's tolerance, in bfloat16 with one of bfloat16.
#include "kernels/base/error.h"
#include "tests/kernels/norm_case.h"
#include "tests/support/throws.h"
#include "tests/support/turns.h"

namespace tradewind::tests {
namespace {

/// Checks each case in both element types.
void on_executor(const std::vector<NormCase>& cases, void (*check)(const NormCase&)) {
  Turns turns;
  for (NormCase c : cases)
    for (const DType dtype : {DType::kFloat32, DType::kBFloat16}) {
      c.dtype = dtype;
      turns.next(describe(c), [&](Place& place) {
        c.place = &place;
        check(c);
      });
    }
}

}  // namespace

// Channels for 8 lanes a row, and for a warp with 1, 2 and 4 packets a lane; whole vectors and not.
BOOST_AUTO_TEST_CASE(rows_of_a_warp_match_float64) {
  const auto cases = norm_cases({1, 7, 70}, {1, 7, 64, 65, 100, 200, 384, 600});
  on_executor(cases, check_norm);
  on_executor(cases, check_residual_norm);
}

// Channels for a block a row with 1, 2 and 4 packets a thread.
BOOST_AUTO_TEST_CASE(rows_of_a_block_match_float64) {
  const auto cases = norm_cases({1, 3}, {1027, 2048, 2056, 8192});
  on_executor(cases, check_norm);
  on_executor(cases, check_residual_norm);
}

// Blocks take rows in turn where there are more of them than a GPU has room for.
BOOST_AUTO_TEST_CASE(more_rows_than_blocks_match_float64) {
  on_executor(norm_cases({270}, {1100}), check_norm);               // 528 blocks, a row each
  on_executor({{.layer = true, .N = 135, .C = 4200}}, check_norm);  // 132 blocks
}

BOOST_AUTO_TEST_CASE(values_far_from_zero_keep_their_digits) {
  Turns turns;
  for (const std::size_t C : {24, 100, 768, 1100})
    turns.next("far", [&](Place& place) { check_norm_far_from_zero(C, &place); });
}

BOOST_AUTO_TEST_CASE(nan_reaches_its_row_and_no_other) {
  for (const std::size_t C : {40, 100, 1100}) {
    std::vector<float> x = random_values(3 * C, 1), w(C, 1.0F), y(3 * C), mean(3), rstd(3);
    x[C + C / 2] = NAN;
    Turns().next("nan", [&](Place& place) {
      PlacedArrays at(&place, DType::kFloat32);
      kernels::norm_forward(at.elements(y), at.array(mean), at.array(rstd), at.read(x), at.values(w), nullptr, 3,
                            static_cast<std::int64_t>(C), norm_options(true), at.launch());
      at.fetch();
    });
    for (std::size_t i = 0; i < y.size(); ++i) BOOST_REQUIRE(std::isnan(y[i]) == (i / C == 1));
  }
}

BOOST_AUTO_TEST_CASE(bits_do_not_depend_on_the_order_of_threads_and_blocks) {
  const NormCase c{.layer = true, .N = 90, .C = 40};
  const auto x = random_values(c.N * c.C, 1), dy = random_values(c.N * c.C, 2), w = random_values(c.C, 3);
  std::vector<std::vector<float>> first;
  Turns turns;
  for (int run = 0; run < 4; ++run)
    turns.next("norm", [&](Place& place) {
      std::vector<float> y(c.N * c.C), mean(c.N), rstd(c.N), dx(c.N * c.C), dw(c.C), db(c.C);
      PlacedArrays at(&place, DType::kFloat32);
      const void* in = at.read(x);
      const float* weight = at.values(w);
      float *means = at.array(mean), *rstds = at.array(rstd);
      kernels::norm_forward(at.elements(y), means, rstds, in, weight, nullptr, 90, 40, norm_options(true), at.launch());
      kernels::norm_backward(at.elements(dx), at.array(dw), at.array(db), at.read(dy), in, means, rstds, weight, 90, 40,
                             Write::kAssign, Write::kAssign, norm_options(true), at.launch());
      at.fetch();
      const std::vector<std::vector<float>> now = {y, mean, rstd, dx, dw, db};
      if (run == 0) first = now;
      for (std::size_t i = 0; i < now.size(); ++i) BOOST_TEST(now[i] == first[i]);
    });
}

BOOST_AUTO_TEST_CASE(no_rows_give_zero_weight_gradients) {
  for (const Write write : {Write::kAssign, Write::kAccumulate}) {
    std::vector<float> dw(5, 7.0F), db(5, 7.0F);
    Turns().next("no rows", [&](Place& place) {
      PlacedArrays at(&place, DType::kFloat32);
      kernels::norm_backward(nullptr, at.array(dw), at.array(db), nullptr, nullptr, nullptr, nullptr, nullptr, 0, 5,
                             Write::kAssign, write, norm_options(true), at.launch());
      at.fetch();
    });
    BOOST_TEST(dw == std::vector<float>(5, write == Write::kAssign ? 0.0F : 7.0F));
    BOOST_TEST(db == dw);
  }
}

BOOST_AUTO_TEST_CASE(rows_too_wide_and_other_dtypes_say_what_to_do) {
  Turns().next("refusals", [](Place& place) {
    PlacedArrays at(&place, DType::kFloat32);
    std::vector<float> x(8193), w(8193), y(8193), rstd(1);
    void* to = at.elements(y);
    float* rstds = at.array(rstd);
    const auto forward = [&](std::int64_t C, DType dtype) {
      kernels::norm_forward(to, nullptr, rstds, at.read(x), at.values(w), nullptr, 1, C, norm_options(false, 1e-5F, dtype),
                            at.launch());
    };
    check_throws<DeviceError>([&] { forward(8193, DType::kFloat32); }, {"8193 channels", "8192", "device = \"cpu\""});
    check_throws<DeviceError>([&] { forward(8, DType::kFloat64); }, {"bfloat16 and float32", "float64"});
  });
}

}  // namespace tradewind::tests
