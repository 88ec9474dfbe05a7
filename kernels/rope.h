// Rotary position embedding (Su et al. 2021, equation 34), in place on heads inside a packed row.
//
// x [N, ..]: row n holds `heads` heads of D elements from x + n * stride. Dimension i pairs with i + D/2 (kHalf, Llama) or
// 2i with 2i + 1 (kInterleaved, GPT-J); angle = position[n] * theta^(-2 i / D), computed in float64 and rounded once:
// (a cos - b sin, b cos + a sin). backward = true rotates by the negative angle, which is the gradient. dtype: float32 on a
// CPU, float32 and bfloat16 on CUDA. A negative position throws InternalError on a CPU; on CUDA nobody looks, and it is an
// angle too.
#pragma once

#include <cstdint>

#include "kernels/base/launch.h"

namespace tradewind::kernels {

enum class RopeLayout : std::uint8_t { kHalf, kInterleaved };

struct RopeOptions {
  RopeLayout layout = RopeLayout::kHalf;
  double theta = 10000.0;
  bool backward = false;
  DType dtype = DType::kFloat32;
};

void rope_apply(void* x, const std::int32_t* position, std::int64_t N, std::int64_t heads, std::int64_t D, std::int64_t stride,
                const RopeOptions& options, const Launch& launch);

}  // namespace tradewind::kernels
