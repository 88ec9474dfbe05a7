// kernels/base/device_runtime.h over device/stream.cuh: no kernels, calls alone. It keeps nothing, so one object serves all.
#include "kernels/cuda/device_runtime.h"

#include "kernels/cuda/device/stream.cuh"

namespace tradewind::kernels::detail {
namespace {

/// For what must not throw: a device that fails here fails the next call too, which says so.
template <class Call>
void quietly(const Call& call) noexcept {
  try {
    call();
  } catch (const std::exception&) {  // NOLINT(bugprone-empty-catch): also the executor's faults, which it remembers
  }
}

class CudaRuntime final : public DeviceRuntime {
 public:
  DeviceFacts facts(int index) override { return device_facts(index); }
  void use(int index) override { device_use(index); }
  DeviceMemory memory() override { return device_memory(); }
  bool is_device_memory(const void* p) override { return device_owns(p); }

  void* allocate(std::size_t bytes) override { return block_allocate(bytes); }
  void release(void* p) noexcept override {
    quietly([&] { block_free(p); });
  }
  void* allocate_pinned(std::size_t bytes) override { return pinned_allocate(bytes); }
  void release_pinned(void* p) noexcept override {
    quietly([&] { pinned_free(p); });
  }
  void forget(void* p, std::size_t used, std::size_t whole, Stream s) override { block_forget(p, used, whole, s); }

  Stream create_stream() override { return stream_create(); }
  void destroy_stream(Stream s) noexcept override {
    quietly([&] { stream_destroy(s); });
  }
  void wait_for_stream(Stream s) override { stream_synchronize(s); }
  Event create_event() override { return event_create(); }
  void destroy_event(Event e) noexcept override {
    quietly([&] { event_destroy(e); });
  }
  void record(Event e, Stream s) override { event_record(e, s); }
  void wait(Stream s, Event e) override { event_wait(s, e); }
  void wait_for_event(Event e) override { event_synchronize(e); }
  bool is_done(Event e) override { return event_done(e); }

  void copy_to_device(void* device, const void* host, std::size_t bytes, Stream s) override {
    kernels::copy_to_device(device, host, bytes, s);
  }
  void copy_to_host(void* host, const void* device, std::size_t bytes, Stream s) override {
    kernels::copy_to_host(host, device, bytes, s);
  }
  void copy_rows(void* to, std::size_t to_stride, const void* from, std::size_t from_stride, std::size_t bytes,
                 std::size_t rows, Stream s) override {
    kernels::copy_rows(to, to_stride, from, from_stride, bytes, rows, s);
  }
  void fill(void* device, int byte, std::size_t bytes, Stream s) override { fill_bytes(device, byte, bytes, s); }
};

}  // namespace

DeviceRuntime& cuda_runtime_cuda() {
  static CudaRuntime runtime;  // without state
  return runtime;
}

}  // namespace tradewind::kernels::detail
