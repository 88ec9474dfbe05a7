// A GPU as the place where a kernel's test runs.
#pragma once

#include <cuda_runtime_api.h>

#include <functional>
#include <memory>
#include <stdexcept>
#include <string>

#include "tests/support/device_place.h"

namespace tradewind::tests {

inline void check_gpu(cudaError_t code) {
  if (code != cudaSuccess) throw std::runtime_error(std::string("CUDA: ") + cudaGetErrorString(code));
}

/// What `body` launches in a stream, recorded as a step and not run.
class Captured {
 public:
  template <class Body>
  Captured(void* stream, const Body& body) : stream_(static_cast<cudaStream_t>(stream)) {
    check_gpu(cudaStreamBeginCapture(stream_, cudaStreamCaptureModeGlobal));
    body();
    cudaGraph_t graph = nullptr;
    check_gpu(cudaStreamEndCapture(stream_, &graph));
    cudaGraphExec_t executable = nullptr;
    const cudaError_t code = cudaGraphInstantiate(&executable, graph, 0);
    check_gpu(cudaGraphDestroy(graph));
    check_gpu(code);
    executable_.reset(executable, [](cudaGraphExec_t g) { cudaGraphExecDestroy(g); });
  }
  void replay() const { check_gpu(cudaGraphLaunch(executable_.get(), stream_)); }

 private:
  cudaStream_t stream_;
  std::shared_ptr<CUgraphExec_st> executable_{};
};

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
  void overwrite(void* device, const void* host, std::size_t bytes) override {
    check_gpu(cudaMemcpyAsync(device, host, bytes, cudaMemcpyHostToDevice, stream_));
    check_gpu(cudaStreamSynchronize(stream_));
  }
  std::function<void()> capture(const std::function<void()>& body) override {
    const Captured captured(stream_, body);
    return [captured] { captured.replay(); };
  }

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
