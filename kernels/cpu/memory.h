// How much work is worth a thread, and when to write past the cache. Shared by the ops that memory bounds.
#pragma once

#include <algorithm>
#include <cstdint>

namespace tradewind::kernels::cpu {

/// Elements below which waking a second thread costs more than it saves: a wake-up takes a few microseconds, as do these.
inline constexpr std::int64_t kGrain = 16384;

/// The same in rows of C elements.
inline std::int64_t rows_per_grain(std::int64_t C) { return std::max<std::int64_t>(1, kGrain / std::max<std::int64_t>(C, 1)); }

/// True where an output of `count` floats will have left the cache before anybody reads it, and is aligned as streaming
/// stores need. They save reading each line before it is overwritten.
inline bool pays_to_stream(const float* output, std::int64_t count) {
  constexpr std::int64_t kBytes = std::int64_t{16} << 20;
  return count * static_cast<std::int64_t>(sizeof(float)) >= kBytes && reinterpret_cast<std::uintptr_t>(output) % 64 == 0;
}

}  // namespace tradewind::kernels::cpu
