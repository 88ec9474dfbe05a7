// What kernels take from NVIDIA's libraries: matrix products from cuBLASLt, sort and scan from CUB. Host functions in the order
// of launch.stream. Under g++ tests/simt stands in, in float64 and by the standard library, with every access checked.
//
//   gemm(c, c_type, a, b, type, shape, launch)      c = alpha op(a) op(b) + beta c; sums in float32
//   gemm(c, c_type, a, b, type, shape, launch, epilogue)            c = act(alpha op(a) op(b) + beta c + bias), at once
//   sort_pairs(keys_out, values_out, keys, values, count, bits, launch)   ascending by the low `bits` of the key; equal keys
//                                                   keep their order
//   exclusive_sum(out, in, count, launch)           out[i] = in[0] + ... + in[i - 1]; out may be in
//   inclusive_sum(out, in, count, launch)           out[i] = in[0] + ... + in[i]; out may be in
#pragma once

#include "kernels/activation.h"
#include "kernels/base/launch.h"
#include "kernels/cuda/device/stream.cuh"

namespace tradewind::kernels {

/// Row-major: op(a) is [m, k], op(b) [k, n], c [m, n]. A transposed operand is stored as [k, m] or [n, k]. Strides are elements
/// from row to row as stored.
struct GemmShape {
  std::int64_t m, n, k;
  std::int64_t a_stride, b_stride, c_stride;
  bool a_transposed = false, b_transposed = false;
  float alpha = 1.0F, beta = 0.0F;
};

/// What follows a product before it is written. Bias and what was before the activation are of c's type.
struct GemmEpilogue {
  const void* bias = nullptr;                 // [n], added to each row
  Activation activation = Activation::kNone;  // see gemm_has
  void* before = nullptr;                     // [m, n], rows as far apart as c's: what the activation was given
};
/// ReLU, which cannot tell what was before it; GELU by tanh, for bfloat16, since nobody says how exact it is.
constexpr bool gemm_has(Activation activation, bool before, DType c_type) {
  return (activation == Activation::kNone && !before) || (activation == Activation::kRelu && !before) ||
         (activation == Activation::kGeluTanh && c_type == DType::kBFloat16);
}

/// float32 or bfloat16 operands, float32 or (of bfloat16 operands) bfloat16 results. With an epilogue all pointers and strides
/// are multiples of 16 bytes, and gemm_has it.
void gemm(void* c, DType c_type, const void* a, const void* b, DType type, const GemmShape& shape, const Launch& launch,
          const GemmEpilogue& epilogue = {});

void sort_pairs(std::uint64_t* keys_out, std::int32_t* values_out, const std::uint64_t* keys, const std::int32_t* values,
                std::int64_t count, int bits, const Launch& launch);
void sort_pairs(std::uint32_t* keys_out, std::uint32_t* values_out, const std::uint32_t* keys, const std::uint32_t* values,
                std::int64_t count, int bits, const Launch& launch);
void inclusive_sum(std::uint32_t* out, const std::uint32_t* in, std::int64_t count, const Launch& launch);
void exclusive_sum(std::int64_t* out, const std::int64_t* in, std::int64_t count, const Launch& launch);

}  // namespace tradewind::kernels
