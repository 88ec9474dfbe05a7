// Arrays of a test's case on the executor's device, and scratch from its memory.
#pragma once

#include "kernels/cuda/device/stream.cuh"
#include "tests/simt/machine.h"
#include "tests/support/device_place.h"

namespace tradewind::tests {

/// Device memory in the order of the default stream.
class SimtScratch final : public kernels::Scratch {
 public:
  void* acquire(std::size_t bytes) override { return kernels::device_allocate(bytes, nullptr); }
  void release(void* pointer, std::size_t) noexcept override { kernels::device_free(pointer, nullptr); }
};

class SimtPlace final : public Place {
 public:
  kernels::Launch launch() override { return {.device = {.type = kernels::DeviceType::kCuda}, .scratch = &scratch_}; }
  void* put(const void* host, std::size_t bytes) override {
    void* p = kernels::device_allocate(bytes, nullptr);
    kernels::copy_to_device(p, host, bytes, nullptr);
    kernels::stream_synchronize(nullptr);
    return p;
  }
  void get(void* host, const void* device, std::size_t bytes) override {
    kernels::copy_to_host(host, device, bytes, nullptr);
    kernels::stream_synchronize(nullptr);
  }
  void drop(void* device) override { kernels::device_free(device, nullptr); }

 private:
  SimtScratch scratch_;
};

}  // namespace tradewind::tests
