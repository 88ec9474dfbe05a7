// Running cases where there is device memory: on the executor of tests/simt, or, in the programs of tests/cuda, on a GPU.
#pragma once

#ifdef TRADEWIND_TESTS_ON_GPU
#include "tests/cuda/turns.h"
#else
#include "tests/simt/turns.h"
#endif

namespace tradewind::tests {

inline constexpr kernels::Device kGpu{.type = kernels::DeviceType::kCuda, .index = 0};

}  // namespace tradewind::tests
