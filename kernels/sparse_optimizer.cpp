#include "kernels/sparse_optimizer.h"

#include <limits>

#include "kernels/base/dispatch.h"
#include "kernels/cpu/sparse_optimizer.h"
#include "kernels/cuda/sparse_optimizer.h"

namespace tradewind::kernels {
namespace {

constexpr const char* kOp = "sparse_update";

// Host memory. Two threads that updated the same row would leave it to chance.
void check_rows(const SparseRows& gradient, std::int64_t V) {
  bool good = gradient.rows[0] >= 0 && gradient.rows[gradient.count - 1] < V;
  for (std::int64_t i = 1; i < gradient.count; ++i) good = good && gradient.rows[i - 1] < gradient.rows[i];
  require(good, kOp, "rows must ascend within [0, V)");
}

}  // namespace

void sparse_update(float* table, float* first, float* second, const SparseRows& gradient, std::int64_t V, std::int64_t C,
                   const SparseUpdateOptions& options, const Launch& launch) {
  constexpr std::int64_t kMost = std::numeric_limits<std::int32_t>::max();
  require(V >= 0 && V <= kMost && C > 0 && C <= kMost, kOp, "V must be below 2^31 and C in [1, 2^31)");
  require(gradient.count >= 0 && gradient.count <= V, kOp, "as many gradients at most as rows");
  require(launch.step != nullptr, kOp, "launch.step must be given");
  require(options.beta1 >= 0 && options.beta1 < 1 && options.beta2 >= 0 && options.beta2 < 1, kOp, "betas must be in [0, 1)");
  if (gradient.count == 0) return;
  require(table != nullptr && gradient.rows != nullptr && gradient.values != nullptr, kOp,
          "table, rows and values must be given");
  require(options.rule == SparseRule::kSgd || first != nullptr, kOp, "the rule needs its first state");
  require(options.rule != SparseRule::kAdam || second != nullptr, kOp, "adam needs its second state");
  if (launch.device.type == DeviceType::kCuda) {
    if constexpr (kHasCuda) {
      require_device_memory(kOp, launch,
                            {{"table", table},
                             {"first", first},
                             {"second", second},
                             {"rows", gradient.rows},
                             {"values", gradient.values},
                             {"launch.step", launch.step},
                             {"copy", options.copy}});
      return detail::sparse_update_cuda(table, first, second, gradient, V, C, options, launch);
    } else {
      throw_no_cuda(kOp);
    }
  }
  require(launch.step->step >= 1, kOp, "steps count from 1");
  check_rows(gradient, V);
  cpu::sparse_update(table, first, second, gradient, C, options, launch);
}

}  // namespace tradewind::kernels
