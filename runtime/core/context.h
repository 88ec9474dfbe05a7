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
  /// threads 0: as many as the process is bound to. `compute`: what activations and products are in, float32 or (on a GPU)
  /// bfloat16. Throws DeviceError for a device that this build or machine lacks, with the remedy.
  Context(Device device, int threads, std::uint64_t seed, DType compute = DType::kFloat32);
  ~Context();
  Context(const Context&) = delete;
  Context& operator=(const Context&) = delete;

  Device device() const { return device_; }
  int threads() const { return threads_; }
  DType compute_type() const { return compute_; }
  Allocator& allocator() const;

  /// The scalars of the step, on the host. On a GPU kernels see them as they were when publish_step_state was last called, in
  /// the order of the stream.
  kernels::StepState& step_state() { return step_state_; }
  const kernels::StepState& step_state() const { return step_state_; }
  void publish_step_state();

  kernels::Launch launch() const;
  /// For what the host computes beside a GPU, on host memory. On a CPU the same as launch().
  kernels::Launch host_launch() const;
  /// kernels::Launch::stable_rows of every launch from now on.
  void set_stable_rows(bool on) { stable_rows_ = on; }
  Tensor tensor(const Shape& shape, DType dtype = DType::kFloat32, Purpose purpose = Purpose::kActivations) const {
    return {allocator(), shape, dtype, purpose};
  }
  /// Of the type that the context computes in.
  Tensor activation(const Shape& shape) const { return {allocator(), shape, compute_}; }

  /// Until the device has done all that its stream was given. Nothing to do on a CPU.
  void wait() const;
  // Of a GPU:
  kernels::Stream stream() const;
  Allocator& pinned() const;  // host memory for copies

 private:
  struct Gpu;
  Device device_;
  int threads_;
  DType compute_;
  std::unique_ptr<Gpu> gpu_;  // null on a CPU
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
