// The host's side of a device: streams, events, memory, copies, captured steps, launches. cudart under nvcc, tests/simt under
// g++, where all of it happens lazily, in any order that the declared dependencies allow.
//
//   launch(kernel, grid, block, shared_bytes, stream, arguments...)
//   stream_create() stream_destroy(s) stream_synchronize(s)     null is the default stream
//   event_create() event_destroy(e) event_record(e, s) event_wait(s, e)   what s does next waits for what e recorded
//   device_allocate(bytes, s) device_free(p, s)                  in the order of s; aligned to 256 bytes
//   copy_to_device(d, h, bytes, s) copy_to_host(h, d, bytes, s) fill_bytes(d, value, bytes, s)      asynchronous
//   copy_rows(d, stride, from, stride, bytes, rows, s)           the same within device memory
//   event_synchronize(e) event_done(e)                           the host waits, or asks
//   capture_begin(s) capture_end(s) graph_launch(g, s) graph_destroy(g)    by-value arguments are those of the capture
//   device_facts(index) device_use(index) device_memory() device_owns(p)  device_runtime.h says what these and the next are
//   block_allocate(bytes) block_free(p) block_forget(p, used, whole, s) pinned_allocate(bytes) pinned_free(p)
// Failures throw DeviceError with the call and the remedy.
#pragma once

#include "kernels/base/device_runtime.h"
#include "kernels/base/error.h"
#include "kernels/cuda/device/simt.cuh"

namespace tradewind::kernels {

using Graph = void*;

}  // namespace tradewind::kernels

#if defined(__CUDACC__)
#include "kernels/cuda/device/cudart.cuh"
#else
#include <simt/stream.h>  // tests/simt, on the include path of the tests only
#endif
