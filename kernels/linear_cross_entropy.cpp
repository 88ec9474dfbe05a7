#include "kernels/linear_cross_entropy.h"

#include <algorithm>
#include <string>

#include "kernels/base/dispatch.h"
#include "kernels/cpu/linear_cross_entropy.h"
#include "kernels/cuda/linear_cross_entropy.h"

namespace tradewind::kernels {

std::int64_t linear_cross_entropy_workspace(std::int64_t N, std::int64_t V, std::int64_t C, DeviceType device, int threads) {
  if (device != DeviceType::kCuda) return cpu::linear_cross_entropy_workspace(N, V, C, threads);
  const std::int64_t row = 4 * ((V + 7) / 8 * 8);
  return row * std::min(N, std::max<std::int64_t>(32, detail::kCrossEntropyChunkBytes / row));
}

void linear_cross_entropy(float* loss, float* nll, float* lse, void* dx, float* dw, float* dbias, const void* x, const void* w,
                          const void* bias, const std::int32_t* targets, std::int64_t N, std::int64_t V, std::int64_t C,
                          Write write, const LinearCrossEntropyOptions& options, const Launch& launch) {
  constexpr const char* kOp = "linear_cross_entropy";
  require(N >= 0 && V >= 1 && C >= 1, kOp, "N must be at least 0, V and C at least 1");
  require(launch.threads >= 1, kOp, "launch.threads must be at least 1");
  require(options.task >= 0 && options.task < kMaxTasks, kOp, "task must be one of the kMaxTasks tasks");
  require(options.label_smoothing >= 0 && options.label_smoothing <= 1, kOp, "label_smoothing must lie in [0, 1]");
  require(options.z_loss >= 0, kOp, "z_loss must not be negative");
  require_float32_on_cpu(kOp, launch, options.dtype);
  require(N == 0 || (loss != nullptr && x != nullptr && w != nullptr && targets != nullptr), kOp,
          "loss, x, w and targets must not be null");
  require(dx == nullptr || dx != x, kOp, "dx must not be x");
  if (launch.device.type == DeviceType::kCuda) {
    if constexpr (kHasCuda) {
      require((dx == nullptr && dw == nullptr && dbias == nullptr) || launch.step != nullptr, kOp,
              "gradients need launch.step, which holds the loss scale");
      require_device_memory(kOp, launch,
                            {{"loss", loss},
                             {"nll", nll},
                             {"lse", lse},
                             {"dx", dx},
                             {"dw", dw},
                             {"dbias", dbias},
                             {"x", x},
                             {"w", w},
                             {"bias", bias},
                             {"targets", targets},
                             {"launch.step", launch.step}});
      detail::linear_cross_entropy_cuda(loss, nll, lse, dx, dw, dbias, x, w, bias, targets, N, V, C, write, options, launch);
      return;
    } else {
      throw_no_cuda(kOp);
    }
  }
  cpu::CrossEntropyProblem problem{.loss = loss,
                                   .nll = nll,
                                   .lse = lse,
                                   .dx = static_cast<float*>(dx),
                                   .dw = dw,
                                   .dbias = dbias,
                                   .x = static_cast<const float*>(x),
                                   .w = static_cast<const float*>(w),
                                   .bias = static_cast<const float*>(bias),
                                   .targets = targets,
                                   .N = N,
                                   .V = V,
                                   .C = C,
                                   .write = write,
                                   .scale = 0.0F,
                                   .label_smoothing = options.label_smoothing,
                                   .z_loss = options.z_loss,
                                   .ignore_index = options.ignore_index};
  if (problem.gradient()) {
    require(launch.step != nullptr, kOp, "gradients need launch.step, which holds the loss scale");
    problem.scale = launch.step->loss_scale[options.task];
  }
  for (std::int64_t n = 0; n < N; ++n)
    if (targets[n] != options.ignore_index && (targets[n] < 0 || targets[n] >= V))
      throw DataError("linear_cross_entropy: the target of row " + std::to_string(n) + " is " + std::to_string(targets[n]) +
                      ", outside the vocabulary [0, " + std::to_string(V) + ") and not ignore_index " +
                      std::to_string(options.ignore_index) + "; check that the data was prepared with this model's vocabulary");
  cpu::linear_cross_entropy(problem, launch);
}

}  // namespace tradewind::kernels
