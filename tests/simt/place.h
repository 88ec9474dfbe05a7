// Arrays of a test's case on the executor's device, and scratch from its memory.
#pragma once

#include "kernels/cuda/device/stream.cuh"
#include "tests/simt/machine.h"
#include "tests/support/device_place.h"

namespace tradewind::tests {

/// Device memory in the order of a stream.
class SimtScratch final : public kernels::Scratch {
 public:
  explicit SimtScratch(kernels::Stream stream) : stream_(stream) {}
  void* acquire(std::size_t bytes) override { return kernels::device_allocate(bytes, stream_); }
  void release(void* pointer, std::size_t) noexcept override { kernels::device_free(pointer, stream_); }

 private:
  kernels::Stream stream_;
};

/// What `body` launches in a stream, recorded as a step and not run.
class Captured {
 public:
  template <class Body>
  Captured(kernels::Stream stream, const Body& body) : stream_(stream) {
    kernels::capture_begin(stream);
    body();
    graph_ = kernels::capture_end(stream);
  }
  void replay() const { kernels::graph_launch(graph_, stream_); }
  kernels::Graph graph() const { return graph_; }

 private:
  kernels::Stream stream_;
  kernels::Graph graph_ = nullptr;
};

/// Everything is in one stream, the default one or that of the caller: one of its own shows a kernel that is launched
/// elsewhere.
class SimtPlace final : public Place {
 public:
  explicit SimtPlace(kernels::Stream stream = nullptr) : stream_(stream) {}
  kernels::Launch launch() override {
    return {.device = {.type = kernels::DeviceType::kCuda}, .stream = stream_, .scratch = &scratch_};
  }
  void* put(const void* host, std::size_t bytes) override {
    void* p = kernels::device_allocate(bytes, stream_);
    kernels::copy_to_device(p, host, bytes, stream_);
    kernels::stream_synchronize(stream_);
    return p;
  }
  void get(void* host, const void* device, std::size_t bytes) override {
    kernels::copy_to_host(host, device, bytes, stream_);
    kernels::stream_synchronize(stream_);
  }
  void drop(void* device) override { kernels::device_free(device, stream_); }
  void overwrite(void* device, const void* host, std::size_t bytes) override {
    kernels::copy_to_device(device, host, bytes, stream_);
  }
  std::function<void()> capture(const std::function<void()>& body) override {
    const Captured captured(stream_, body);
    return [captured] { captured.replay(); };
  }

 private:
  kernels::Stream stream_;
  SimtScratch scratch_{stream_};
};

}  // namespace tradewind::tests
