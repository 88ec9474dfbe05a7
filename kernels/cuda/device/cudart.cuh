// stream.cuh for nvcc: the CUDA run-time library. Included by stream.cuh alone, which says what each function means.
#pragma once

#include <cuda_runtime.h>

#include "kernels/cuda/device/cuda_error.h"

namespace tradewind::kernels {

inline cudaStream_t native(Stream s) { return static_cast<cudaStream_t>(s); }

template <class... Parameters, class... Arguments>
void launch(void (*kernel)(Parameters...), Index3 grid, Index3 block, std::size_t shared_bytes, Stream stream,
            const Arguments&... arguments) {
  if (shared_bytes > 48 * 1024)
    TRADEWIND_CHECK_CUDA(
        cudaFuncSetAttribute(kernel, cudaFuncAttributeMaxDynamicSharedMemorySize, static_cast<int>(shared_bytes)));
  kernel<<<dim3(grid.x, grid.y, grid.z), dim3(block.x, block.y, block.z), shared_bytes, native(stream)>>>(
      static_cast<Parameters>(arguments)...);
  TRADEWIND_CHECK_CUDA(cudaGetLastError());
}

inline Stream stream_create() {
  cudaStream_t s = nullptr;
  TRADEWIND_CHECK_CUDA(cudaStreamCreateWithFlags(&s, cudaStreamNonBlocking));
  return s;
}
inline void stream_destroy(Stream s) { TRADEWIND_CHECK_CUDA(cudaStreamDestroy(native(s))); }
inline void stream_synchronize(Stream s) { TRADEWIND_CHECK_CUDA(cudaStreamSynchronize(native(s))); }

inline Event event_create() {
  cudaEvent_t e = nullptr;
  TRADEWIND_CHECK_CUDA(cudaEventCreateWithFlags(&e, cudaEventDisableTiming));
  return e;
}
inline void event_destroy(Event e) { TRADEWIND_CHECK_CUDA(cudaEventDestroy(static_cast<cudaEvent_t>(e))); }
inline void event_record(Event e, Stream s) { TRADEWIND_CHECK_CUDA(cudaEventRecord(static_cast<cudaEvent_t>(e), native(s))); }
inline void event_wait(Stream s, Event e) {
  TRADEWIND_CHECK_CUDA(cudaStreamWaitEvent(native(s), static_cast<cudaEvent_t>(e), 0));
}

inline void event_synchronize(Event e) { TRADEWIND_CHECK_CUDA(cudaEventSynchronize(static_cast<cudaEvent_t>(e))); }
inline bool event_done(Event e) {
  const cudaError_t code = cudaEventQuery(static_cast<cudaEvent_t>(e));
  if (code == cudaErrorNotReady) return false;
  check_cuda(code, "cudaEventQuery");
  return true;
}

inline DeviceFacts device_facts(int index) {
  DeviceFacts f;
  TRADEWIND_CHECK_CUDA(cudaRuntimeGetVersion(&f.runtime));
  if (cudaDriverGetVersion(&f.driver) != cudaSuccess) f.driver = 0;
  if (const cudaError_t code = cudaGetDeviceCount(&f.devices); code != cudaSuccess) {
    f.devices = 0;
    f.problem = cudaGetErrorString(code);
    cudaGetLastError();  // asked and answered: the next call does not fail because of it
  }
  if (index < 0 || index >= f.devices) return f;
  cudaDeviceProp properties{};
  TRADEWIND_CHECK_CUDA(cudaGetDeviceProperties(&properties, index));
  f.name = properties.name;
  f.major = properties.major, f.minor = properties.minor;
  f.memory_bytes = properties.totalGlobalMem;
  return f;
}
inline void device_use(int index) { TRADEWIND_CHECK_CUDA(cudaSetDevice(index)); }
inline DeviceMemory device_memory() {
  DeviceMemory m;
  TRADEWIND_CHECK_CUDA(cudaMemGetInfo(&m.free, &m.total));
  return m;
}
inline bool device_owns(const void* p) {
  cudaPointerAttributes attributes{};
  TRADEWIND_CHECK_CUDA(cudaPointerGetAttributes(&attributes, p));
  return attributes.type == cudaMemoryTypeDevice || attributes.type == cudaMemoryTypeManaged;
}

inline void* block_allocate(std::size_t bytes) {
  void* p = nullptr;
  const cudaError_t code = cudaMalloc(&p, bytes);
  if (code == cudaErrorMemoryAllocation) {
    cudaGetLastError();
    return nullptr;
  }
  check_cuda(code, "cudaMalloc");
  return p;
}
inline void block_free(void* p) {
  TRADEWIND_CHECK_CUDA(cudaDeviceSynchronize());
  TRADEWIND_CHECK_CUDA(cudaFree(p));
}
inline void block_forget(void*, std::size_t, std::size_t, Stream) {}
inline void* pinned_allocate(std::size_t bytes) {
  void* p = nullptr;
  TRADEWIND_CHECK_CUDA(cudaHostAlloc(&p, bytes, cudaHostAllocDefault));
  return p;
}
inline void pinned_free(void* p) { TRADEWIND_CHECK_CUDA(cudaFreeHost(p)); }

inline void* device_allocate(std::size_t bytes, Stream s) {
  void* p = nullptr;
  if (bytes > 0) TRADEWIND_CHECK_CUDA(cudaMallocAsync(&p, bytes, native(s)));
  return p;
}
inline void device_free(void* p, Stream s) {
  if (p != nullptr) TRADEWIND_CHECK_CUDA(cudaFreeAsync(p, native(s)));
}
inline void copy_to_device(void* device, const void* host, std::size_t bytes, Stream s) {
  TRADEWIND_CHECK_CUDA(cudaMemcpyAsync(device, host, bytes, cudaMemcpyHostToDevice, native(s)));
}
inline void copy_to_host(void* host, const void* device, std::size_t bytes, Stream s) {
  TRADEWIND_CHECK_CUDA(cudaMemcpyAsync(host, device, bytes, cudaMemcpyDeviceToHost, native(s)));
}
inline void copy_rows(void* to, std::size_t to_stride, const void* from, std::size_t from_stride, std::size_t bytes,
                      std::size_t rows, Stream s) {
  if (bytes > 0 && rows > 0)
    TRADEWIND_CHECK_CUDA(cudaMemcpy2DAsync(to, to_stride, from, from_stride, bytes, rows, cudaMemcpyDeviceToDevice, native(s)));
}
inline void fill_bytes(void* device, int value, std::size_t bytes, Stream s) {
  TRADEWIND_CHECK_CUDA(cudaMemsetAsync(device, value, bytes, native(s)));
}

inline void capture_begin(Stream s) { TRADEWIND_CHECK_CUDA(cudaStreamBeginCapture(native(s), cudaStreamCaptureModeGlobal)); }
inline Graph capture_end(Stream s) {
  cudaGraph_t graph = nullptr;
  cudaGraphExec_t executable = nullptr;
  TRADEWIND_CHECK_CUDA(cudaStreamEndCapture(native(s), &graph));
  const cudaError_t code = cudaGraphInstantiate(&executable, graph, 0);
  TRADEWIND_CHECK_CUDA(cudaGraphDestroy(graph));
  check_cuda(code, "cudaGraphInstantiate");
  return executable;
}
inline void graph_launch(Graph g, Stream s) {
  TRADEWIND_CHECK_CUDA(cudaGraphLaunch(static_cast<cudaGraphExec_t>(g), native(s)));
}
inline void graph_destroy(Graph g) { TRADEWIND_CHECK_CUDA(cudaGraphExecDestroy(static_cast<cudaGraphExec_t>(g))); }

}  // namespace tradewind::kernels
