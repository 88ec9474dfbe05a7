// Which instruction sets the CPU kernels may use. One cap for Highway and oneDNN together, so that two machines compute
// the same bits where they are asked to.
#pragma once

#include <string>

namespace tradewind::kernels {

/// Caps both libraries. `isa` is "auto" (no cap), "avx2" or "avx512". Call before the first kernel.
/// Throws ConfigError for another name and DeviceError where the machine lacks what is asked for.
void set_isa(const std::string& isa);

/// The instruction set that kernels really run with, e.g. "AVX2".
std::string active_isa();

/// True where bf16 matrix products are native (AVX-512-BF16 or AMX) and not capped away.
bool has_native_bfloat16();

}  // namespace tradewind::kernels
