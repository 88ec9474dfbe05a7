// What CUDA itself may answer becomes an error that names the call, the remedy and exit code 5. The words are CUDA's run-time
// library's, which has them without a GPU or a driver.
#include <boost/test/unit_test.hpp>
#include <string>
#include <vector>

#include "kernels/cuda/device/cuda_error.h"

using namespace tradewind;

BOOST_AUTO_TEST_CASE(each_failure_of_cuda_names_its_remedy) {
  struct Failure {
    cudaError_t code;
    std::vector<std::string> words;
  };
  const std::vector<Failure> failures = {
      {cudaErrorNoDevice, {"no NVIDIA GPU", "device = \"cpu\""}},
      {cudaErrorInsufficientDriver, {"update the driver", "device = \"cpu\""}},
      {cudaErrorNoKernelImageForDevice, {"no code for this GPU", "-DTRADEWIND_CUDA_ARCHITECTURES", "device = \"cpu\""}},
      {cudaErrorUnsupportedPtxVersion, {"no code for this GPU", "-DTRADEWIND_CUDA_ARCHITECTURES"}},
      {cudaErrorMemoryAllocation, {"memory is full", "train.micro_batch", "model.context"}},
      {cudaErrorIllegalAddress, {"not the device's", "compute-sanitizer"}},
      {cudaErrorMisalignedAddress, {"compute-sanitizer"}},
      {cudaErrorUnknown, {"tests/run"}},
  };
  for (const Failure& failure : failures)
    BOOST_CHECK_EXCEPTION(kernels::check_cuda(failure.code, "cudaSomething(x)"), DeviceError, [&](const DeviceError& e) {
      const std::string text = e.what();
      BOOST_TEST_MESSAGE(text);
      BOOST_CHECK_EQUAL(text.find(std::string("cudaSomething(x): ") + cudaGetErrorString(failure.code)), 0U);
      for (const std::string& word : failure.words)
        BOOST_CHECK_MESSAGE(text.find(word) != std::string::npos, "no '" << word << "' in '" << text << "'");
      return e.code() == ExitCode::kDevice;
    });
  kernels::check_cuda(cudaSuccess, "cudaSomething(x)");
}

BOOST_AUTO_TEST_CASE(a_checked_call_is_quoted) {
  const auto call = [] { TRADEWIND_CHECK_CUDA(cudaSetDevice(-7)); };  // fails with a GPU and without
  BOOST_CHECK_EXCEPTION(call(), DeviceError,
                        [](const DeviceError& e) { return std::string(e.what()).find("cudaSetDevice(-7): ") == 0; });
}
