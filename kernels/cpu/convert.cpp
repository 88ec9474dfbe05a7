// Plain loops, which the compiler turns into vectors: a CPU trains in float32 and seldom converts.
#include "kernels/cpu/convert.h"

#include "kernels/base/bfloat16.h"
#include "kernels/base/parallel.h"
#include "kernels/cpu/memory.h"

namespace tradewind::kernels::cpu {

void to_bfloat16(std::uint16_t* to, const float* from, std::int64_t count, const Launch& launch) {
  parallel_pieces(count, kGrain, launch.threads, [&](std::int64_t begin, std::int64_t end) {
    for (std::int64_t i = begin; i < end; ++i) to[i] = bfloat16_bits(from[i]);
  });
}

void to_float32(float* to, const std::uint16_t* from, std::int64_t count, const Launch& launch) {
  parallel_pieces(count, kGrain, launch.threads, [&](std::int64_t begin, std::int64_t end) {
    for (std::int64_t i = begin; i < end; ++i) to[i] = float_of_bfloat16_bits(from[i]);
  });
}

}  // namespace tradewind::kernels::cpu
