#include "kernels/sampling.h"

#include <limits>
#include <string>

#include "kernels/base/dispatch.h"
#include "kernels/cpu/sampling.h"
#include "kernels/cuda/sampling.h"

namespace tradewind::kernels {

void sample(std::int32_t* next, const float* logits, std::int64_t N, std::int64_t V, const RowKeys& keys,
            const SamplingOptions& options, const Launch& launch) {
  require(N >= 0 && V >= 1 && V <= std::numeric_limits<std::int32_t>::max(), "sample",
          "N must be at least 0, and V lie in [1, 2^31)");
  require(launch.threads >= 1, "sample", "launch.threads must be at least 1");
  require(options.temperature >= 0 && options.temperature <= std::numeric_limits<float>::max(), "sample",
          "temperature must be finite and not negative");
  require(options.top_k >= 0, "sample", "top_k must not be negative");
  require(options.top_p > 0 && options.top_p <= 1, "sample", "top_p must lie in (0, 1]");
  if (N == 0) return;
  require(next != nullptr && logits != nullptr, "sample", "next and logits must not be null");
  require(options.temperature == 0 || (launch.step != nullptr && keys.sample != nullptr && keys.position != nullptr), "sample",
          "drawing needs launch.step (the seed) and the rows' keys");
  if (launch.device.type == DeviceType::kCuda) {
    if constexpr (kHasCuda) {
      require_device_memory("sample", launch,
                            {{"next", next},
                             {"logits", logits},
                             {"keys.sample", keys.sample},
                             {"keys.position", keys.position},
                             {"launch.step", launch.step}});
      return detail::sample_cuda(next, logits, N, V, keys, options, launch);
    } else {
      throw_no_cuda("sample");
    }
  }
  const std::int64_t bad = cpu::sample(next, logits, N, V, keys, options, launch);
  if (bad < N)
    throw DataError("sample: the logits of row " + std::to_string(bad) +
                    " hold NaN or +infinity, or no finite value; the model has diverged or its checkpoint is damaged");
}

}  // namespace tradewind::kernels
