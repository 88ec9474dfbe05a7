// The host's side of a GPU, for floors that know no CUDA: devices, memory, streams, events, copies.
//
// One implementation, kernels/cuda/device_runtime.cu over device/stream.cuh, which nvcc and the executor of tests/simt build
// alike. A binary without CUDA has none: cuda_runtime() throws and why_no_cuda() says so.
//
// What a stream is given happens in its order and after the call has returned. Sizes are bytes. Calls throw DeviceError with
// CUDA's words and the remedy; those that give back do not throw.
#pragma once

#include <cstddef>
#include <string>

#include "kernels/base/device.h"

namespace tradewind::kernels {

using Stream = void*;  // null: the default stream
using Event = void*;

/// What this machine has, as far as it can be asked without a working driver.
struct DeviceFacts {
  int runtime = 0;      // CUDA version of this build, 1000 * major + 10 * minor
  int driver = 0;       // newest CUDA version that the driver serves; 0: there is no driver
  int devices = 0;      // visible GPUs
  std::string problem;  // why they cannot be counted, in CUDA's words
  // Of the one that was asked for, where there is one:
  std::string name;
  int major = 0, minor = 0;  // compute capability
  std::size_t memory_bytes = 0;
};

/// Why device `index` cannot be used, with the remedy; empty where it can. A pure function of the facts.
std::string why_unusable(const DeviceFacts& facts, int index);

struct DeviceMemory {
  std::size_t free = 0, total = 0;
};

class DeviceRuntime {
 public:
  virtual ~DeviceRuntime() = default;

  virtual DeviceFacts facts(int index) = 0;
  /// The calling thread works with device `index` from here on.
  virtual void use(int index) = 0;
  virtual DeviceMemory memory() = 0;
  /// False for host memory, pinned or not.
  virtual bool is_device_memory(const void* p) = 0;

  /// Device memory, aligned to 256 bytes, not in the order of any stream. Null where there is not enough left.
  virtual void* allocate(std::size_t bytes) = 0;
  /// Waits for all work of the device first.
  virtual void release(void* p) noexcept = 0;
  /// Host memory that copies reach while the host goes on.
  virtual void* allocate_pinned(std::size_t bytes) = 0;
  virtual void release_pinned(void* p) noexcept = 0;
  /// The first `used` bytes at p hold nothing from here on in the order of `stream`, and the rest of `whole` belongs to nobody.
  /// Nothing happens on a GPU; the executor reports who reads or touches them all the same, and whose use is not over.
  virtual void forget(void* p, std::size_t used, std::size_t whole, Stream stream) = 0;

  virtual Stream create_stream() = 0;
  virtual void destroy_stream(Stream s) noexcept = 0;
  virtual void wait_for_stream(Stream s) = 0;  // the host waits
  virtual Event create_event() = 0;
  virtual void destroy_event(Event e) noexcept = 0;
  virtual void record(Event e, Stream s) = 0;
  virtual void wait(Stream s, Event e) = 0;  // what s does next waits for what e recorded
  virtual void wait_for_event(Event e) = 0;  // the host waits; nothing to do before the first record
  virtual bool is_done(Event e) = 0;

  virtual void copy_to_device(void* device, const void* host, std::size_t bytes, Stream s) = 0;
  virtual void copy_to_host(void* host, const void* device, std::size_t bytes, Stream s) = 0;
  /// `rows` pieces of `bytes`, each a stride after the one before, from device memory to device memory.
  virtual void copy_rows(void* to, std::size_t to_stride, const void* from, std::size_t from_stride, std::size_t bytes,
                         std::size_t rows, Stream s) = 0;
  virtual void fill(void* device, int byte, std::size_t bytes, Stream s) = 0;
};

/// Throws DeviceError in a binary without CUDA.
DeviceRuntime& cuda_runtime();

/// Why device = "cuda" is not possible here, with the remedy; empty where it is.
std::string why_no_cuda(int index = 0);

/// A stream or an event that goes with its owner.
class DeviceStream {
 public:
  DeviceStream() : stream_(cuda_runtime().create_stream()) {}
  ~DeviceStream() { cuda_runtime().destroy_stream(stream_); }
  DeviceStream(const DeviceStream&) = delete;
  DeviceStream& operator=(const DeviceStream&) = delete;
  Stream get() const { return stream_; }

 private:
  Stream stream_;
};

class DeviceEvent {
 public:
  DeviceEvent() : event_(cuda_runtime().create_event()) {}
  ~DeviceEvent() { cuda_runtime().destroy_event(event_); }
  DeviceEvent(const DeviceEvent&) = delete;
  DeviceEvent& operator=(const DeviceEvent&) = delete;
  Event get() const { return event_; }

 private:
  Event event_;
};

}  // namespace tradewind::kernels
