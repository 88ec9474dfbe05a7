// What the operations of a run share: device, memory, threads, the scalars of the step. Passed along, never global. It owns the
// memory of its tensors, so it outlives them: declare it before whatever holds one.
#pragma once

#include <cstdint>
#include <memory>
#include <string_view>

#include "kernels/base/launch.h"
#include "runtime/core/allocator.h"
#include "runtime/core/tensor.h"

namespace tradewind::runtime {

class Context {
 public:
  /// threads 0: as many as the process is bound to. Throws DeviceError for a device that this build or machine lacks.
  Context(Device device, int threads, std::uint64_t seed);

  Device device() const { return device_; }
  int threads() const { return threads_; }
  Allocator& allocator() const { return *allocator_; }
  kernels::StepState& step_state() { return step_state_; }
  const kernels::StepState& step_state() const { return step_state_; }

  kernels::Launch launch() const;
  /// kernels::Launch::stable_rows of every launch from now on.
  void set_stable_rows(bool on) { stable_rows_ = on; }
  Tensor tensor(const Shape& shape, DType dtype = DType::kFloat32) const { return {*allocator_, shape, dtype}; }

 private:
  Device device_;
  int threads_;
  std::unique_ptr<Allocator> allocator_;
  kernels::StepState step_state_;
  bool stable_rows_ = false;
};

/// How many cores this process may run on.
int available_cores();

/// A number that sets one consumer of random numbers apart from all others: FNV-1a of its dotted name.
constexpr std::uint64_t purpose_of(std::string_view name) {
  std::uint64_t hash = 0xCBF29CE484222325ULL;
  for (const char c : name) hash = (hash ^ static_cast<unsigned char>(c)) * 0x100000001B3ULL;
  return hash;
}

}  // namespace tradewind::runtime
