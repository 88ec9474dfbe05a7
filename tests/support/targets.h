// Running a test on each instruction set that the kernels were compiled for and this machine has.
#pragma once

#include <hwy/targets.h>

#include <cstdint>
#include <functional>
#include <string>

namespace tradewind::tests {

/// Calls body("AVX3"), body("AVX2"), body("EMU128") as far as they are there, with Highway's dispatch held to that target.
/// EMU128 stands for the plain C++ fallback.
inline void on_every_target(const std::function<void(const std::string&)>& body) {
  for (std::int64_t left = hwy::SupportedTargets() & (HWY_AVX3 | HWY_AVX2 | HWY_EMU128); left != 0; left &= left - 1) {
    const std::int64_t one = left & -left;
    hwy::SetSupportedTargetsForTest(one);
    body(hwy::TargetName(one));
  }
  hwy::SetSupportedTargetsForTest(0);
}

}  // namespace tradewind::tests
