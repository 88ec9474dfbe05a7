// Dropout: y = keep ? x * scale : 0 (Srivastava et al. 2014, inverted form). No mask is stored: backward computes it again.
//
// Shapes: x, y [N, C] contiguous, float32, on a GPU also bfloat16. Mask of row n: key philox_key(seed, dropout.purpose), sample
// keys.sample[n], position keys.position[n]; layout, threshold and scale in base/philox.h, bit-equal on every backend. Needs
// launch.step->seed. Bound by memory (8 bytes an element) on a GPU, by Philox's multiplications (about 3 an element) on a CPU.
#pragma once

#include <cstdint>

#include "kernels/base/launch.h"
#include "kernels/base/philox.h"

namespace tradewind::kernels {

/// y may be x. The gradient is the same function: dx = dropout_forward(dy), with write for accumulation.
void dropout_apply(void* y, const void* x, std::int64_t N, std::int64_t C, const Dropout& dropout, const RowKeys& keys,
                   Write write, DType dtype, const Launch& launch);

}  // namespace tradewind::kernels
