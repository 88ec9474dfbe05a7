// Philox4x32-10, the counter-based generator behind dropout, sampling and initialisation.
// Salmon et al., "Parallel Random Numbers: As Easy as 1, 2, 3", SC 2011, section 3.3.
//
// A number is a pure function of (seed, purpose) -> key and (sample, position, column) -> counter, so a mask does not
// depend on ranks, packing, threads or backend. The mask layout below is part of every op's contract.
//
//   key     = philox_key(seed, purpose)
//   counter = { group, position, low word of sample, high word of sample }
//
// Dropout mask of column c of a row: 64 columns share 8 counters, so that 8 SIMD lanes (or 8 threads) that each own a
// counter write contiguous columns:
//   s = c / 64, r = c % 64;  group = 8 s + r % 8;  word = (r % 32) / 8;  half = r / 32 (0: low 16 bits, 1: high)
//   the element is dropped when its 16-bit number < threshold, threshold = dropout_threshold(p);
//   kept elements are scaled by 65536 / (65536 - threshold).
#pragma once

#include <array>
#include <cstdint>

#if defined(__CUDACC__)
#define TRADEWIND_HOST_DEVICE __host__ __device__
#else
#define TRADEWIND_HOST_DEVICE
#endif

namespace tradewind::kernels {

inline constexpr std::uint32_t kPhiloxM0 = 0xD2511F53U;
inline constexpr std::uint32_t kPhiloxM1 = 0xCD9E8D57U;
inline constexpr std::uint32_t kPhiloxW0 = 0x9E3779B9U;
inline constexpr std::uint32_t kPhiloxW1 = 0xBB67AE85U;

struct PhiloxKey {
  std::uint32_t k0, k1;
};

struct PhiloxBlock {
  std::uint32_t w[4];
};

TRADEWIND_HOST_DEVICE inline PhiloxBlock philox(PhiloxKey key, PhiloxBlock counter) {
  for (int round = 0; round < 10; ++round) {
    const std::uint64_t p0 = std::uint64_t{kPhiloxM0} * counter.w[0];
    const std::uint64_t p1 = std::uint64_t{kPhiloxM1} * counter.w[2];
    counter = {{static_cast<std::uint32_t>(p1 >> 32) ^ counter.w[1] ^ key.k0, static_cast<std::uint32_t>(p1),
                static_cast<std::uint32_t>(p0 >> 32) ^ counter.w[3] ^ key.k1, static_cast<std::uint32_t>(p0)}};
    key.k0 += kPhiloxW0;
    key.k1 += kPhiloxW1;
  }
  return counter;
}

/// splitmix64's finaliser (Steele, Lea and Flood, OOPSLA 2014): a bijection of 64 bits that mixes well.
TRADEWIND_HOST_DEVICE inline std::uint64_t mix64(std::uint64_t x) {
  x = (x ^ (x >> 30)) * 0xBF58476D1CE4E5B9ULL;
  x = (x ^ (x >> 27)) * 0x94D049BB133111EBULL;
  return x ^ (x >> 31);
}

/// Key of one purpose (a dropout site, a shuffle, a parameter's initialisation) in the run with `seed`.
TRADEWIND_HOST_DEVICE inline PhiloxKey philox_key(std::uint64_t seed, std::uint64_t purpose) {
  const std::uint64_t k = mix64(mix64(seed + 0x9E3779B97F4A7C15ULL) + purpose * 0x9E3779B97F4A7C15ULL);
  return {static_cast<std::uint32_t>(k), static_cast<std::uint32_t>(k >> 32)};
}

/// Which rows of a packed array are which: row n is position `position[n]` of running sample `sample[n]`.
/// Device arrays of N elements.
struct RowKeys {
  const std::uint64_t* sample = nullptr;
  const std::int32_t* position = nullptr;
};

/// One dropout site: probability in [0, 1), and the purpose that sets its masks apart from other sites'.
struct Dropout {
  float p = 0.0F;
  std::uint64_t purpose = 0;
};

TRADEWIND_HOST_DEVICE inline std::uint32_t dropout_threshold(float p) {
  return static_cast<std::uint32_t>(p * 65536.0F + 0.5F);
}
TRADEWIND_HOST_DEVICE inline float dropout_scale(std::uint32_t threshold) {
  return 65536.0F / static_cast<float>(65536U - threshold);
}

/// The 16-bit number of column c (see the layout above). The definition that every backend's masks are tested against.
TRADEWIND_HOST_DEVICE inline std::uint32_t dropout_number(PhiloxKey key, std::uint64_t sample, std::uint32_t position,
                                                          std::uint32_t column) {
  const std::uint32_t r = column % 64;
  const PhiloxBlock block = philox(
      key, {{column / 64 * 8 + r % 8, position, static_cast<std::uint32_t>(sample), static_cast<std::uint32_t>(sample >> 32)}});
  return (block.w[r % 32 / 8] >> (r / 32 * 16)) & 0xFFFFU;
}

}  // namespace tradewind::kernels
