// A gate: y[n, c] = gate[n, c] x[n, c], the gate being a slice of wider rows.
//
// x, y [N, C] contiguous; row n of the gate starts at gate + n * gate_stride, so does its gradient. float32, on a GPU also
// bfloat16, computed in float32 and rounded once.
// Bound by memory: forward 12 bytes an element, backward 20.
#pragma once

#include <cstdint>

#include "kernels/base/launch.h"

namespace tradewind::kernels {

struct GateShape {
  std::int64_t N, C, gate_stride;
};

/// y may be x.
void gate_forward(void* y, const void* x, const void* gate, const GateShape& shape, DType dtype, const Launch& launch);

/// dx (=) dy gate, dgate (=) dy x. dx may be dy or x.
void gate_backward(void* dx, void* dgate, const void* dy, const void* x, const void* gate, const GateShape& shape, DType dtype,
                   const Launch& launch);

}  // namespace tradewind::kernels
