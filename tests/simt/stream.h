// stream.cuh for g++: streams, events, memory, captured steps and launches on Machine::current(). stream.cuh says what each one
// is for.
#pragma once

#include <memory>
#include <tuple>

#include "kernels/cuda/device/stream.cuh"
#include "tests/simt/machine.h"

namespace tradewind::kernels {

/// A grid, and where the launch was written: what faults call the kernel.
struct Grid : Index3 {
  Grid(Index3 size, const simt::Where& at = simt::Where::current())
      : Index3(size), where(at) {}  // NOLINT(google-explicit-constructor)
  Grid(unsigned x_, unsigned y_ = 1, unsigned z_ = 1,
       const simt::Where& at = simt::Where::current())  // NOLINT(google-explicit-constructor)
      : Index3{x_, y_, z_}, where(at) {}
  simt::Where where;
};

template <class... Parameters, class... Arguments>
void launch(void (*kernel)(Parameters...), Grid grid, Index3 block, std::size_t shared_bytes, Stream stream,
            const Arguments&... arguments) {
  static_assert((std::is_trivially_copyable_v<Parameters> && ...), "a kernel's parameters are copied as bytes");
  auto k = std::make_shared<simt::Kernel>();
  k->name = "kernel launched at " + simt::to_string(grid.where);
  k->grid = grid, k->block = block, k->shared_bytes = shared_bytes;
  std::tuple<Parameters...> bound(static_cast<Parameters>(arguments)...);
#if defined(__GNUC__) && !defined(__clang__)
  // Bytes between a struct's members say nothing about two captures being the same.
  std::apply([](auto&... x) { (__builtin_clear_padding(&x), ...); }, bound);
#endif
  std::apply(
      [&](const auto&... x) {
        (k->arguments.emplace_back(reinterpret_cast<const std::byte*>(&x), reinterpret_cast<const std::byte*>(&x) + sizeof x),
         ...);
      },
      bound);
  k->body = [kernel, bound] { std::apply(kernel, bound); };
  simt::check_launch(*k);
  simt::Machine& machine = simt::Machine::current();
  machine.enqueue(
      k->name, [&machine, k = k.get()](std::uint32_t operation) { simt::run_kernel(machine, *k, operation); }, k, stream);
}

inline Stream stream_create() { return simt::Machine::current().create_stream(); }
inline void stream_destroy(Stream) {}  // the machine owns it
inline void stream_synchronize(Stream s) { simt::Machine::current().synchronize(s); }
inline Event event_create() { return simt::Machine::current().create_event(); }
inline void event_destroy(Event) {}
inline void event_synchronize(Event e) { simt::Machine::current().wait_for_event(e); }
inline bool event_done(Event e) { return simt::Machine::current().is_done(e); }
inline void event_record(Event e, Stream s) { simt::Machine::current().record(e, s); }
inline void event_wait(Stream s, Event e) { simt::Machine::current().wait(s, e); }

inline DeviceFacts device_facts(int index) {
  const simt::Options& o = simt::Machine::current().options();
  DeviceFacts f{.runtime = 13000, .driver = o.driver, .devices = o.devices, .problem = {}, .name = {}};
  if (index < 0 || index >= f.devices) return f;
  f.name = "executor";
  f.major = o.capability / 10, f.minor = o.capability % 10;
  f.memory_bytes = o.memory;
  return f;
}
inline void device_use(int) {}
inline DeviceMemory device_memory() {
  const simt::Machine& m = simt::Machine::current();
  return {.free = m.capacity() - m.live_bytes(), .total = m.capacity()};
}
inline bool device_owns(const void* p) { return simt::Machine::current().global().contains(p); }
inline void* block_allocate(std::size_t bytes) {
  simt::Machine& m = simt::Machine::current();
  return m.live_bytes() + bytes > m.capacity() ? nullptr : m.allocate(bytes, nullptr);
}
inline void block_free(void* p) {
  simt::Machine& m = simt::Machine::current();
  m.synchronize();
  m.free(p, nullptr);
  m.synchronize();
}
inline void block_forget(void* p, std::size_t used, std::size_t whole, Stream s) {
  simt::Machine::current().forget(p, used, whole, s);
}
inline void* pinned_allocate(std::size_t bytes) { return simt::Machine::current().allocate_pinned(bytes); }
inline void pinned_free(void* p) { simt::Machine::current().free_pinned(p); }

inline void* device_allocate(std::size_t bytes, Stream s) { return simt::Machine::current().allocate(bytes, s); }
inline void device_free(void* p, Stream s) { simt::Machine::current().free(p, s); }
inline void copy_to_device(void* device, const void* host, std::size_t bytes, Stream s) {
  simt::Machine::current().copy(device, host, bytes, true, s);
}
inline void copy_to_host(void* host, const void* device, std::size_t bytes, Stream s) {
  simt::Machine::current().copy(host, device, bytes, false, s);
}
inline void copy_rows(void* to, std::size_t to_stride, const void* from, std::size_t from_stride, std::size_t bytes,
                      std::size_t rows, Stream s) {
  simt::Machine::current().copy_rows(to, to_stride, from, from_stride, bytes, rows, s);
}
inline void fill_bytes(void* device, int value, std::size_t bytes, Stream s) {
  simt::Machine::current().fill(device, value, bytes, s);
}

inline void capture_begin(Stream s) { simt::Machine::current().begin_capture(s); }
inline Graph capture_end(Stream s) { return simt::Machine::current().end_capture(s); }
inline void graph_launch(Graph g, Stream s) { simt::Machine::current().launch_graph(g, s); }
inline void graph_destroy(Graph) {}

}  // namespace tradewind::kernels
