#include "kernels/base/error.h"
#include "tests/kernels/convert_case.h"
#include "tests/support/throws.h"

namespace tradewind::tests {

using kernels::DType;

BOOST_AUTO_TEST_CASE(floats_become_the_nearest_bfloat16) {
  const auto x = floats_around_bfloat16(1);
  for (const int threads : {1, 2, 3}) check_to_bfloat16("all", x, nullptr, threads);
}

BOOST_AUTO_TEST_CASE(every_bfloat16_becomes_the_same_float) {
  for (const std::size_t count : {65536U, 1000U}) check_to_float32("all", nullptr, count, 2);
}

BOOST_AUTO_TEST_CASE(bad_arguments_throw) {
  float x = 0;
  const auto convert = [&](DType to, DType from, const void* p) { kernels::convert(&x, to, p, from, 1, {}); };
  BOOST_CHECK_THROW(convert(DType::kFloat32, DType::kFloat32, &x), InternalError);
  BOOST_CHECK_THROW(convert(DType::kBFloat16, DType::kFloat64, &x), InternalError);
  BOOST_CHECK_THROW(convert(DType::kBFloat16, DType::kFloat32, nullptr), InternalError);
  BOOST_CHECK_NO_THROW(kernels::convert(nullptr, DType::kBFloat16, nullptr, DType::kFloat32, 0, {}));
}

}  // namespace tradewind::tests
