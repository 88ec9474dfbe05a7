#include "kernels/optimizer.h"

#include "kernels/base/dispatch.h"
#include "kernels/cpu/optimizer.h"
#include "kernels/cuda/optimizer.h"

namespace tradewind::kernels {
namespace {

void require_segments(const char* op, const Segment* segments, std::int64_t count, const Launch& launch) {
  require(count >= 0 && (count == 0 || segments != nullptr), op, "segments must be given");
  require(launch.step != nullptr, op, "launch.step must be given");
}

// On a CPU only: elsewhere the segments live in device memory.
void check_segments(const char* op, const Segment* segments, std::int64_t count) {
  for (std::int64_t i = 0; i < count; ++i)
    require(segments[i].begin >= 0 && segments[i].begin <= segments[i].end, op, "a segment that ends before it begins");
}

}  // namespace

void adam_update(float* parameter, float* m, float* v, const float* gradient, const Segment* segments,
                 std::int64_t segment_count, const AdamOptions& options, const Launch& launch) {
  constexpr const char* kOp = "adam_update";
  require_segments(kOp, segments, segment_count, launch);
  require(options.beta1 >= 0 && options.beta1 < 1 && options.beta2 >= 0 && options.beta2 < 1, kOp, "betas must be in [0, 1)");
  if (segment_count == 0) return;
  require(parameter != nullptr && m != nullptr && v != nullptr && gradient != nullptr, kOp,
          "parameter, m, v and gradient must be given");
  if (launch.device.type == DeviceType::kCuda) {
    if constexpr (kHasCuda) {
      require_device_memory(kOp, launch,
                            {{"parameter", parameter},
                             {"m", m},
                             {"v", v},
                             {"gradient", gradient},
                             {"segments", segments},
                             {"launch.step", launch.step},
                             {"copy", options.copy}});
      return detail::adam_update_cuda(parameter, m, v, gradient, segments, segment_count, options, launch);
    } else {
      throw_no_cuda(kOp);
    }
  }
  require(launch.step->step >= 1, kOp, "steps count from 1");
  check_segments(kOp, segments, segment_count);
  cpu::adam_update(parameter, m, v, gradient, segments, segment_count, options, launch);
}

void sgd_update(float* parameter, float* momentum, const float* gradient, const Segment* segments, std::int64_t segment_count,
                const SgdOptions& options, const Launch& launch) {
  constexpr const char* kOp = "sgd_update";
  require_segments(kOp, segments, segment_count, launch);
  if (segment_count == 0) return;
  require(parameter != nullptr && gradient != nullptr, kOp, "parameter and gradient must be given");
  require(options.momentum == 0.0F || momentum != nullptr, kOp, "momentum needs its buffer");
  if (launch.device.type == DeviceType::kCuda) {
    if constexpr (kHasCuda) {
      require_device_memory(kOp, launch,
                            {{"parameter", parameter},
                             {"momentum", momentum},
                             {"gradient", gradient},
                             {"segments", segments},
                             {"launch.step", launch.step},
                             {"copy", options.copy}});
      return detail::sgd_update_cuda(parameter, momentum, gradient, segments, segment_count, options, launch);
    } else {
      throw_no_cuda(kOp);
    }
  }
  require(launch.step->step >= 1, kOp, "steps count from 1");
  check_segments(kOp, segments, segment_count);
  cpu::sgd_update(parameter, momentum, gradient, segments, segment_count, options, launch);
}

void adagrad_update(float* parameter, float* sum, const float* gradient, const Segment* segments, std::int64_t segment_count,
                    const AdagradOptions& options, const Launch& launch) {
  constexpr const char* kOp = "adagrad_update";
  require_segments(kOp, segments, segment_count, launch);
  if (segment_count == 0) return;
  require(parameter != nullptr && sum != nullptr && gradient != nullptr, kOp, "parameter, sum and gradient must be given");
  if (launch.device.type == DeviceType::kCuda) {
    if constexpr (kHasCuda) {
      require_device_memory(kOp, launch,
                            {{"parameter", parameter},
                             {"sum", sum},
                             {"gradient", gradient},
                             {"segments", segments},
                             {"launch.step", launch.step},
                             {"copy", options.copy}});
      return detail::adagrad_update_cuda(parameter, sum, gradient, segments, segment_count, options, launch);
    } else {
      throw_no_cuda(kOp);
    }
  }
  require(launch.step->step >= 1, kOp, "steps count from 1");
  check_segments(kOp, segments, segment_count);
  cpu::adagrad_update(parameter, sum, gradient, segments, segment_count, options, launch);
}

void squared_norm(double* sum, const float* x, std::int64_t count, const Launch& launch) {
  require(sum != nullptr && count >= 0 && (count == 0 || x != nullptr), "squared_norm", "sum and x must be given");
  if (launch.device.type == DeviceType::kCuda) {
    if constexpr (kHasCuda) {
      require_device_memory("squared_norm", launch, {{"sum", sum}, {"x", x}});
      return detail::squared_norm_cuda(sum, x, count, launch);
    } else {
      throw_no_cuda("squared_norm");
    }
  }
  cpu::squared_norm(sum, x, count, launch);
}

}  // namespace tradewind::kernels
