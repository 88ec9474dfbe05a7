// Element-wise activations and the gated SwiGLU.
//
//   relu       max(x, 0)
//   gelu_tanh  0.5 x (1 + tanh(sqrt(2/pi) (x + 0.044715 x^3)))   Hendrycks and Gimpel 2016, section 2; GPT-2's gelu_new
//   gelu_exact 0.5 x (1 + erf(x / sqrt 2))                       ibid.; BERT
//   silu       x sigmoid(x)
//   swiglu     silu(gate) * up                                   Shazeer 2020, equation 6
//
// float32, on a GPU also bfloat16, computed in float32 and rounded once.
// Bound by memory: forward reads and writes 4 bytes each an element; backward reads 8 and writes 4.
#pragma once

#include <cstdint>

#include "kernels/base/launch.h"

namespace tradewind::kernels {

enum class Activation : std::uint8_t { kNone, kRelu, kGeluTanh, kGeluExact, kSilu };

/// y[i] = act(x[i]). y may be x. Error <= 1e-6 of max(1, |x|) against float64 (bfloat16: its rounding, 4e-3).
void activation_forward(void* y, const void* x, std::int64_t count, Activation activation, DType dtype, const Launch& launch);

/// dx[i] (=, +=) dy[i] act'(x[i]), x being the input of the forward. dx may be dy or x.
/// Where y is given, act(x) is written to it too in the same pass (recomputation of what forward did not keep).
void activation_backward(void* dx, void* y, const void* dy, const void* x, std::int64_t count, Activation activation,
                         Write write, DType dtype, const Launch& launch);

/// y[n, c] = silu(x[n, c]) x[n, C + c]: x [N, 2 C] holds gate and up side by side, y is [N, C].
void swiglu_forward(void* y, const void* x, std::int64_t N, std::int64_t C, DType dtype, const Launch& launch);

/// dx [N, 2 C] (=, +=) from dy [N, C] and x [N, 2 C].
void swiglu_backward(void* dx, const void* dy, const void* x, std::int64_t N, std::int64_t C, Write write, DType dtype,
                     const Launch& launch);

}  // namespace tradewind::kernels
