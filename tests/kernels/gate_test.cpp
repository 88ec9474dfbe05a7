#include "kernels/base/error.h"
#include "tests/kernels/gate_case.h"

namespace tradewind::tests {
namespace {

BOOST_AUTO_TEST_CASE(products_match_float64) {
  for_each_gate_case([](const std::string& what, const kernels::GateShape& shape) {
    for (const int threads : {1, 3}) check_gate(what, shape, {.threads = threads});
  });
}

BOOST_AUTO_TEST_CASE(bad_arguments_throw) {
  std::vector<float> x(6), y(6);
  const auto run = [&](const kernels::GateShape& shape, DType dtype) {
    kernels::gate_forward(y.data(), x.data(), x.data(), shape, dtype, {});
  };
  BOOST_CHECK_NO_THROW(run({.N = 2, .C = 3, .gate_stride = 3}, DType::kFloat32));
  BOOST_CHECK_THROW(run({.N = 2, .C = 3, .gate_stride = 2}, DType::kFloat32), InternalError);
  BOOST_CHECK_THROW(run({.N = 2, .C = 0, .gate_stride = 2}, DType::kFloat32), InternalError);
  BOOST_CHECK_THROW(run({.N = 2, .C = 3, .gate_stride = 3}, DType::kBFloat16), DeviceError);
}

}  // namespace
}  // namespace tradewind::tests
