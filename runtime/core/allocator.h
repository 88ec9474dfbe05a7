// Memory for tensors: aligned, pre-faulted, in huge pages where they fit, and reused.
//
// PyTorch on a CPU maps and faults memory anew each step, which costs more than the arithmetic on it (runtime/README.md).
// This allocator keeps what it has mapped: a freed block goes to a list of its size class and the next request of that
// class takes it back. Thread-safe. Peak bytes are counted for the run log.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>

#include "kernels/base/launch.h"

namespace tradewind::runtime {

class Allocator : public kernels::Scratch {
 public:
  ~Allocator() override = default;
  virtual kernels::Device device() const = 0;
  virtual std::size_t bytes_in_use() const = 0;
  virtual std::size_t bytes_mapped() const = 0;
  virtual std::size_t peak_bytes() const = 0;  // most bytes ever in use
};

/// A CPU allocator of its own. Throws DeviceError with bytes asked and in use where the machine has no more.
std::unique_ptr<Allocator> make_cpu_allocator();

/// The allocator for host data that outlives a run's context (data sets, tests). One a process.
Allocator& host_allocator();

}  // namespace tradewind::runtime
