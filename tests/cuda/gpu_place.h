// A GPU as the place where a kernel's test runs.
#pragma once

#include <cuda_runtime_api.h>

#include <stdexcept>
#include <string>

#include "tests/support/device_place.h"

namespace tradewind::tests {

inline void check_gpu(cudaError_t code) {
  if (code != cudaSuccess) throw std::runtime_error(std::string("CUDA: ") + cudaGetErrorString(code));
}

/// Device memory and kernels in a stream of its own.
class GpuPlace final : public Place {
 public:
  GpuPlace() { check_gpu(cudaStreamCreateWithFlags(&stream_, cudaStreamNonBlocking)); }
  ~GpuPlace() override { cudaStreamDestroy(stream_); }
  GpuPlace(const GpuPlace&) = delete;
  GpuPlace& operator=(const GpuPlace&) = delete;

  kernels::Launch launch() override {
    return {.device = {.type = kernels::DeviceType::kCuda}, .stream = stream_, .scratch = &scratch_};
  }
  void* put(const void* host, std::size_t bytes) override {
    void* p = scratch_.acquire(bytes);
    check_gpu(cudaMemcpyAsync(p, host, bytes, cudaMemcpyHostToDevice, stream_));
    check_gpu(cudaStreamSynchronize(stream_));
    return p;
  }
  void get(void* host, const void* device, std::size_t bytes) override {
    check_gpu(cudaMemcpyAsync(host, device, bytes, cudaMemcpyDeviceToHost, stream_));
    check_gpu(cudaStreamSynchronize(stream_));
  }
  void drop(void* device) override { scratch_.release(device, 0); }

 private:
  /// In the order of the stream.
  class StreamScratch final : public kernels::Scratch {
   public:
    explicit StreamScratch(const GpuPlace& place) : place_(place) {}
    void* acquire(std::size_t bytes) override {
      void* p = nullptr;
      if (bytes > 0) check_gpu(cudaMallocAsync(&p, bytes, place_.stream_));
      return p;
    }
    void release(void* pointer, std::size_t) noexcept override {
      if (pointer != nullptr) cudaFreeAsync(pointer, place_.stream_);
    }

   private:
    const GpuPlace& place_;
  };

  cudaStream_t stream_ = nullptr;
  StreamScratch scratch_{*this};
};

}  // namespace tradewind::tests
