#include "runtime/data/sequence_targets.h"

#include <algorithm>
#include <limits>

#include "kernels/base/philox.h"
#include "runtime/core/context.h"

namespace tradewind::runtime {
namespace {

constexpr std::int32_t kNone = -100;

SampleRows masked_rows(std::span<const std::int32_t> window, double share, std::int32_t mask, std::uint64_t seed,
                       std::uint64_t sample) {
  const auto key = kernels::philox_key(seed, purpose_of("masked"));
  SampleRows out;
  std::size_t smallest = 0;
  auto least = std::numeric_limits<std::uint32_t>::max();
  for (std::size_t t = 0; t < window.size(); ++t) {
    const std::uint32_t number = kernels::philox(key, {{0, static_cast<std::uint32_t>(t), static_cast<std::uint32_t>(sample),
                                                        static_cast<std::uint32_t>(sample >> 32)}})
                                     .w[0];
    const bool hidden = number < share * 0x1p32;
    out.ids.push_back(hidden ? mask : window[t]);
    out.targets.push_back(hidden ? window[t] : kNone);
    if (number >= least) continue;
    least = number;
    smallest = t;
  }
  out.ids[smallest] = mask;
  out.targets[smallest] = window[smallest];
  return out;
}

}  // namespace

SampleRows rows_of(std::span<const std::int32_t> window, const SequenceTargets& wanted, std::int32_t mask, std::uint64_t seed,
                   std::uint64_t sample) {
  if (wanted.masked > 0) return masked_rows(window, wanted.masked, mask, seed, sample);
  SampleRows out{.ids = {window.begin(), window.end() - 1}, .targets = {window.begin() + 1, window.end()}};
  if (wanted.prefixes) std::fill(out.targets.begin(), out.targets.end() - 1, kNone);
  return out;
}

}  // namespace tradewind::runtime
