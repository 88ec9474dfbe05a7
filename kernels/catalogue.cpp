#include "kernels/catalogue.h"

#include <limits>
#include <string>

#include "kernels/base/dispatch.h"
#include "kernels/cpu/catalogue.h"
#include "kernels/cuda/catalogue.h"

namespace tradewind::kernels {
namespace {

/// Sizes and pointers; returns the catalogue with its stride.
Catalogue checked(const char* op, Catalogue c, const Launch& launch) {
  constexpr std::int64_t kMost = std::numeric_limits<std::int32_t>::max();
  require(c.N >= 0 && c.V >= 1 && c.V < kMost, op, "N must be at least 0 and V in [1, 2^31 - 1)");
  require(launch.threads >= 1, op, "launch.threads must be at least 1");
  if (c.scores != nullptr) {
    require(c.x == nullptr && c.w == nullptr && c.bias == nullptr && c.C == 0 && c.dtype == DType::kFloat32, op,
            "scores stand in the place of x, w and bias, and are float32");
  } else {
    require(c.C >= 1, op, "C must be at least 1");
    if (c.w_stride == 0) c.w_stride = c.C;
    require(c.w_stride >= c.C, op, "w_stride must be at least C");
    require(c.w != nullptr && (c.N == 0 || c.x != nullptr), op, "x and w, or scores, must be given");
  }
  require(c.exclude == nullptr || c.exclude_offsets != nullptr, op, "exclude needs exclude_offsets");
  require_float32_on_cpu(op, launch, c.dtype);
  require_device_memory(op, launch,
                        {{"x", c.x},
                         {"w", c.w},
                         {"bias", c.bias},
                         {"scores", c.scores},
                         {"exclude_offsets", c.exclude_offsets},
                         {"exclude", c.exclude},
                         {"allow", c.allow}});
  return c;
}

[[noreturn]] void throw_id(const char* op, const char* what, std::int64_t n, std::int32_t id, std::int64_t V) {
  throw DataError(std::string(op) + ": " + what + " " + std::to_string(id) + " of query " + std::to_string(n) +
                  " is outside the catalogue of " + std::to_string(V) +
                  " items; was the data prepared with another vocabulary?");
}

/// Excluded ids come from data.
void require_exclusions(const char* op, const Catalogue& c) {
  if (c.exclude_offsets == nullptr) return;
  require(c.exclude != nullptr || c.exclude_offsets[c.N] == c.exclude_offsets[0], op, "exclude must be given");
  for (std::int64_t n = 0; n < c.N; ++n) {
    std::int32_t before = 0;
    for (std::int64_t e = c.exclude_offsets[n]; e < c.exclude_offsets[n + 1]; ++e) {
      const std::int32_t id = c.exclude[e];
      if (id < 0 || id >= c.V) throw_id(op, "excluded id", n, id, c.V);
      if (id < before)
        throw DataError(std::string(op) + ": the excluded ids of query " + std::to_string(n) + " are not ascending (" +
                        std::to_string(id) + " after " + std::to_string(before) + "); sort them");
      before = id;
    }
  }
}

void require_finite(const char* op, const cpu::NanScore& bad) {
  if (bad.query < 0) return;
  throw DataError(std::string(op) + ": the score of query " + std::to_string(bad.query) + " and item " +
                  std::to_string(bad.item) +
                  " is NaN, so nothing can be ranked; the query or the item's row is not finite: has training diverged?");
}

}  // namespace

void catalogue_top_k(std::int32_t* ids, float* scores, const Catalogue& catalogue, std::int64_t k, const Launch& launch) {
  constexpr const char* kOp = "catalogue_top_k";
  const Catalogue c = checked(kOp, catalogue, launch);
  require(k >= 1 && k <= c.V, kOp, "k must be in [1, V]");
  require(c.N == 0 || ids != nullptr, kOp, "ids must be given");
  if (c.N == 0) return;
  if (launch.device.type == DeviceType::kCuda) {
    if constexpr (kHasCuda) {
      require_device_memory(kOp, launch, {{"ids", ids}, {"scores", scores}});
      return detail::catalogue_top_k_cuda(ids, scores, c, k, launch);
    } else {
      throw_no_cuda(kOp);
    }
  }
  require_exclusions(kOp, c);
  require_finite(kOp, cpu::catalogue_top_k(ids, scores, c, k, launch));
}

void catalogue_rank(std::int32_t* greater, std::int32_t* equal, const Catalogue& catalogue, const std::int64_t* target_offsets,
                    const std::int32_t* targets, std::int64_t total, const Launch& launch) {
  constexpr const char* kOp = "catalogue_rank";
  const Catalogue c = checked(kOp, catalogue, launch);
  require(total >= 0, kOp, "total must not be negative");
  if (c.N == 0 || total == 0) return;
  require(greater != nullptr && equal != nullptr && target_offsets != nullptr && targets != nullptr, kOp,
          "greater, equal, target_offsets and targets must be given");
  if (launch.device.type == DeviceType::kCuda) {
    if constexpr (kHasCuda) {
      require_device_memory(kOp, launch,
                            {{"greater", greater}, {"equal", equal}, {"target_offsets", target_offsets}, {"targets", targets}});
      return detail::catalogue_rank_cuda(greater, equal, c, target_offsets, targets, total, launch);
    } else {
      throw_no_cuda(kOp);
    }
  }
  require(target_offsets[0] == 0 && target_offsets[c.N] == total, kOp, "target_offsets must run from 0 to total");
  require_exclusions(kOp, c);
  for (std::int64_t n = 0; n < c.N; ++n)
    for (std::int64_t t = target_offsets[n]; t < target_offsets[n + 1]; ++t)
      if (targets[t] < 0 || targets[t] >= c.V) throw_id(kOp, "target", n, targets[t], c.V);
  require_finite(kOp, cpu::catalogue_rank(greater, equal, c, target_offsets, targets, total, launch));
}

}  // namespace tradewind::kernels
