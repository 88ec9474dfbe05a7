#include "kernels/dropout.h"

#include <numeric>

#include "kernels/base/error.h"
#include "tests/kernels/dropout_case.h"
#include "tests/support/targets.h"

namespace tradewind::tests {

BOOST_AUTO_TEST_CASE(dropout_follows_the_mask_of_the_definition) {
  on_every_target([](const std::string& target) {
    BOOST_TEST_CONTEXT(target) {
      for (const std::size_t N : {1, 7, 300})
        for (const std::size_t C : {1, 7, 64, 65, 100, 384})
          for (const float p : {0.0F, 0.1F, 0.75F})
            for (const int threads : {1, 2, 3}) check_dropout({.N = N, .C = C, .p = p, .threads = threads});
    }
  });
}

BOOST_AUTO_TEST_CASE(dropout_keeps_the_mean) {
  const std::size_t N = 1000, C = 100;
  const DropoutKeys rows(N);
  const std::vector<float> ones(N * C, 1.0F);
  std::vector<float> y(N * C);
  kernels::dropout_apply(y.data(), ones.data(), 1000, 100, {0.3F, 1}, rows.keys(), Write::kAssign, DType::kFloat32,
                         rows.launch(1));
  const double mean = std::accumulate(y.begin(), y.end(), 0.0) / static_cast<double>(N * C);
  BOOST_TEST(!!(std::abs(mean - 1) < 0.01));  // 5 standard deviations
}

BOOST_AUTO_TEST_CASE(bad_arguments_throw) {
  const DropoutKeys rows(1);
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
