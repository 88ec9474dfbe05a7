// Memory for tensors: aligned, pre-faulted, in huge pages where they fit, and reused.
//
// PyTorch on a CPU maps and faults memory anew each step, which costs more than the arithmetic on it (runtime/README.md).
// This allocator keeps what it has mapped: a freed block goes to a list of its size class and the next request of that
// class takes it back. Thread-safe. Peak bytes are counted for the run log.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>

#include "kernels/base/device_runtime.h"
#include "kernels/base/launch.h"

namespace tradewind::runtime {

/// What memory is for: where it runs out, the message says who holds how much. What nobody names is of activations.
enum class Purpose : std::uint8_t { kActivations, kParameters, kGradients, kOptimizer, kBatch, kCache, kWorkspace };
inline constexpr int kPurposes = 7;
const char* name_of(Purpose purpose);

class Allocator : public kernels::Scratch {
 public:
  ~Allocator() override = default;
  virtual void* acquire_for(std::size_t bytes, Purpose /*purpose*/) { return acquire(bytes); }
  virtual kernels::Device device() const = 0;
  /// In whose order memory is used and given back: its blocks may be taken again at once by what comes later there. Null on a
  /// CPU.
  virtual kernels::Stream stream() const { return nullptr; }
  /// Another stream uses the block from now on: once released, it waits for what that stream has been given by then.
  virtual void record_use(void* /*pointer*/, kernels::Stream /*stream*/) {}
  virtual std::size_t bytes_in_use() const = 0;
  virtual std::size_t bytes_mapped() const = 0;
  virtual std::size_t peak_bytes() const = 0;  // most bytes ever in use
};

/// A CPU allocator of its own. Throws DeviceError with bytes asked and in use where the machine has no more.
std::unique_ptr<Allocator> make_cpu_allocator();

/// What a CPU allocator takes for so many bytes: up to half as much again.
std::size_t cpu_block_bytes(std::size_t bytes);

/// Memory of GPU `device`, used in the order of `stream`. Blocks stay mapped and are taken again, the lowest address of a size
/// class first: a step that asks for the same sizes gets the same addresses. acquire throws DeviceError where memory is full,
/// with who holds how much and what to lower. One thread.
std::unique_ptr<Allocator> make_device_allocator(kernels::Device device, kernels::Stream stream);

/// Pinned host memory for copies. Each copy's stream is told to record_use before the block is released. One thread.
std::unique_ptr<Allocator> make_pinned_allocator();

/// The allocator for host data that outlives a run's context (data sets, tests). One a process.
Allocator& host_allocator();

}  // namespace tradewind::runtime
