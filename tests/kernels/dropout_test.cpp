#include "kernels/dropout.h"

#include <numeric>

#include "kernels/base/error.h"
#include "tests/support/oracle.h"
#include "tests/support/targets.h"

namespace tradewind::tests {
namespace {

using kernels::Dropout;
using kernels::DType;
using kernels::Launch;
using kernels::RowKeys;
using kernels::Write;

struct Rows {
  kernels::StepState step{.seed = 77};
  std::vector<std::uint64_t> sample;
  std::vector<std::int32_t> position;
  explicit Rows(std::size_t N) {
    for (std::size_t n = 0; n < N; ++n) {
      sample.push_back(0xFFFFFFFFULL + n / 5);  // crosses into the high word
      position.push_back(static_cast<std::int32_t>(n % 5));
    }
  }
  RowKeys keys() const { return {sample.data(), position.data()}; }
  Launch launch(int threads) const {
    Launch launch;
    launch.threads = threads;
    launch.step = &step;
    return launch;
  }
};

}  // namespace

BOOST_AUTO_TEST_CASE(dropout_follows_the_mask_of_the_definition) {
  on_every_target([](const std::string& target) {
    for (const std::size_t N : {1, 7, 300})
      for (const std::size_t C : {1, 7, 64, 65, 100, 384})
        for (const float p : {0.0F, 0.1F, 0.75F})
          for (const int threads : {1, 2, 3}) {
            const Rows rows(N);
            auto x = random_values(N * C, 1);
            if (p > 0) x[0] = INFINITY;
            const auto base = random_values(N * C, 2);
            const Dropout dropout{p, 9};
            const std::uint32_t threshold = kernels::dropout_threshold(p);
            const auto key = kernels::philox_key(77, 9);
            std::vector<float> expected(N * C), added = base;
            for (std::size_t i = 0; i < N * C; ++i) {
              const std::size_t n = i / C;
              const bool kept = kernels::dropout_number(key, rows.sample[n], static_cast<std::uint32_t>(rows.position[n]),
                                                        static_cast<std::uint32_t>(i % C)) >= threshold;
              expected[i] = kept ? x[i] * kernels::dropout_scale(threshold) : 0;
              added[i] += expected[i];
            }
            std::vector<float> y(N * C), in_place = x, sum = base;
            const auto n = static_cast<std::int64_t>(N), c = static_cast<std::int64_t>(C);
            const auto apply = [&](std::vector<float>& to, const std::vector<float>& from, Write write) {
              kernels::dropout_apply(to.data(), from.data(), n, c, dropout, rows.keys(), write, DType::kFloat32,
                                     rows.launch(threads));
            };
            apply(y, x, Write::kAssign);
            apply(in_place, in_place, Write::kAssign);
            apply(sum, x, Write::kAccumulate);
            BOOST_REQUIRE_MESSAGE(y == expected, target << " N " << N << " C " << C << " p " << p);
            BOOST_REQUIRE(in_place == expected);
            BOOST_REQUIRE(sum == added);
          }
  });
}

BOOST_AUTO_TEST_CASE(dropout_keeps_the_mean) {
  const std::size_t N = 1000, C = 100;
  const Rows rows(N);
  const std::vector<float> ones(N * C, 1.0F);
  std::vector<float> y(N * C);
  kernels::dropout_apply(y.data(), ones.data(), 1000, 100, {0.3F, 1}, rows.keys(), Write::kAssign, DType::kFloat32,
                         rows.launch(1));
  const double mean = std::accumulate(y.begin(), y.end(), 0.0) / static_cast<double>(N * C);
  BOOST_TEST(!!(std::abs(mean - 1) < 0.01));  // 5 standard deviations
}

BOOST_AUTO_TEST_CASE(bad_arguments_throw) {
  const Rows rows(1);
  std::vector<float> x(4), y(4);
  const auto apply = [&](float p, const RowKeys& keys, const Launch& launch, DType dtype = DType::kFloat32) {
    kernels::dropout_apply(y.data(), x.data(), 1, 4, {p, 0}, keys, Write::kAssign, dtype, launch);
  };
  BOOST_CHECK_NO_THROW(apply(0.0F, {}, Launch{}));
  BOOST_CHECK_THROW(apply(0.5F, rows.keys(), Launch{}), InternalError);
  BOOST_CHECK_THROW(apply(0.5F, {}, rows.launch(1)), InternalError);
  BOOST_CHECK_THROW(apply(1.0F, rows.keys(), rows.launch(1)), InternalError);
  BOOST_CHECK_THROW(apply(-0.5F, rows.keys(), rows.launch(1)), InternalError);
  BOOST_CHECK_THROW(apply(NAN, rows.keys(), rows.launch(1)), InternalError);
  BOOST_CHECK_THROW(apply(0.5F, rows.keys(), rows.launch(1), DType::kBFloat16), DeviceError);
}

}  // namespace tradewind::tests
