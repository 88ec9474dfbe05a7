// The gate on a CPU: products of rows. Bound by memory; the loops are plain, each array is read and written once.
#include "kernels/cpu/gate.h"

#include "kernels/base/parallel.h"

namespace tradewind::kernels::cpu {
namespace {

constexpr std::int64_t kGrain = 64;  // rows

}  // namespace

void gate_forward(float* y, const float* x, const float* gate, const GateShape& s, const Launch& launch) {
  parallel_pieces(s.N, kGrain, launch.threads, [&](std::int64_t begin, std::int64_t end) {
    for (std::int64_t n = begin; n < end; ++n) {
      const float* g = gate + n * s.gate_stride;
      for (std::int64_t c = 0; c < s.C; ++c) y[n * s.C + c] = x[n * s.C + c] * g[c];
    }
  });
}

void gate_backward(float* dx, float* dgate, const float* dy, const float* x, const float* gate, const GateShape& s,
                   const Launch& launch) {
  parallel_pieces(s.N, kGrain, launch.threads, [&](std::int64_t begin, std::int64_t end) {
    for (std::int64_t n = begin; n < end; ++n) {
      const float* g = gate + n * s.gate_stride;
      float* dg = dgate + n * s.gate_stride;
      for (std::int64_t c = 0; c < s.C; ++c) {
        const float up = dy[n * s.C + c], in = x[n * s.C + c];
        dx[n * s.C + c] = up * g[c];
        dg[c] = up * in;
      }
    }
  });
}

}  // namespace tradewind::kernels::cpu
