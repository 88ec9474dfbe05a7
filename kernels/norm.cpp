#include "kernels/norm.h"

#include "kernels/base/dispatch.h"
#include "kernels/cpu/norm.h"
#include "kernels/cuda/norm.h"

namespace tradewind::kernels {
namespace {

const float* in(const void* p) { return static_cast<const float*>(p); }
float* out(void* p) { return static_cast<float*>(p); }

void require_norm(const char* op, std::int64_t N, std::int64_t C, const float* mean, const float* rstd,
                  const NormOptions& options) {
  require(N >= 0 && C > 0, op, "N must be at least 0 and C at least 1");
  require(N == 0 || rstd != nullptr, op, "rstd must be given");
  require(N == 0 || (mean != nullptr) == (options.kind == NormKind::kLayerNorm), op,
          "mean must be given for layer norm and be null for RMS norm");
  require(options.epsilon >= 0.0F, op, "epsilon must not be negative");
}

void require_arm(const char* op, DType dtype, const Launch& launch) {
  require_float32_on_cpu(op, launch, dtype);
  if (!kHasCuda && launch.device.type == DeviceType::kCuda) throw_no_cuda(op);
}

std::uint32_t threshold_of(const Dropout& dropout) { return dropout_threshold(dropout.p); }
PhiloxKey key_of(const Dropout& dropout, const Launch& launch) {
  return threshold_of(dropout) == 0 ? PhiloxKey{} : philox_key(launch.step->seed, dropout.purpose);
}

}  // namespace

void norm_forward(void* y, float* mean, float* rstd, const void* x, const float* weight, const float* bias, std::int64_t N,
                  std::int64_t C, const NormOptions& options, const Launch& launch) {
  require_norm("norm_forward", N, C, mean, rstd, options);
  require(N == 0 || (y != nullptr && x != nullptr), "norm_forward", "y and x must be given");
  require_arm("norm_forward", options.dtype, launch);
  require_device_memory("norm_forward", launch,
                        {{"y", y}, {"mean", mean}, {"rstd", rstd}, {"x", x}, {"weight", weight}, {"bias", bias}});
  if constexpr (kHasCuda)
    if (launch.device.type == DeviceType::kCuda)
      return detail::norm_forward_cuda(nullptr, y, mean, rstd, nullptr, x, weight, bias, N, C, {}, {}, options, launch);
  const cpu::NormForwardRows rows{.s = nullptr,
                                  .y = out(y),
                                  .mean = mean,
                                  .rstd = rstd,
                                  .residual = nullptr,
                                  .x = in(x),
                                  .weight = weight,
                                  .bias = bias,
                                  .N = static_cast<std::size_t>(N),
                                  .C = static_cast<std::size_t>(C),
                                  .epsilon = options.epsilon,
                                  .key = {},
                                  .threshold = 0,
                                  .sample = nullptr,
                                  .position = nullptr,
                                  .stream = false};
  cpu::norm_forward(rows, options.kind, launch);
}

void norm_backward(void* dx, float* dweight, float* dbias, const void* dy, const void* x, const float* mean, const float* rstd,
                   const float* weight, std::int64_t N, std::int64_t C, Write write_dx, Write write_dw,
                   const NormOptions& options, const Launch& launch) {
  require_norm("norm_backward", N, C, mean, rstd, options);
  require(N == 0 || (dx != nullptr && dy != nullptr && x != nullptr), "norm_backward", "dx, dy and x must be given");
  require(dx != dy || write_dx == Write::kAssign, "norm_backward", "dx cannot be accumulated over dy itself");
  require_arm("norm_backward", options.dtype, launch);
  require_device_memory("norm_backward", launch,
                        {{"dx", dx},
                         {"dweight", dweight},
                         {"dbias", dbias},
                         {"dy", dy},
                         {"x", x},
                         {"mean", mean},
                         {"rstd", rstd},
                         {"weight", weight}});
  if constexpr (kHasCuda)
    if (launch.device.type == DeviceType::kCuda)
      return detail::norm_backward_cuda(dx, nullptr, dweight, dbias, dy, write_dx == Write::kAccumulate ? dx : nullptr, x, mean,
                                        rstd, weight, N, C, {}, {}, write_dw, options, launch);
  const cpu::NormBackwardRows rows{.out = out(dx),
                                   .masked = nullptr,
                                   .dweight = dweight,
                                   .dbias = dbias,
                                   .dy = in(dy),
                                   .add = write_dx == Write::kAccumulate ? in(dx) : nullptr,
                                   .x = in(x),
                                   .mean = mean,
                                   .rstd = rstd,
                                   .weight = weight,
                                   .N = static_cast<std::size_t>(N),
                                   .C = static_cast<std::size_t>(C),
                                   .key = {},
                                   .threshold = 0,
                                   .sample = nullptr,
                                   .position = nullptr,
                                   .stream = false};
  cpu::norm_backward(rows, options.kind, write_dw, launch);
}

void residual_norm_forward(void* s, void* y, float* mean, float* rstd, const void* residual, const void* x, const float* weight,
                           const float* bias, std::int64_t N, std::int64_t C, const Dropout& dropout, const RowKeys& keys,
                           const NormOptions& options, const Launch& launch) {
  constexpr const char* kOp = "residual_norm_forward";
  if (y != nullptr) require_norm(kOp, N, C, mean, rstd, options);
  require(N >= 0 && C > 0, kOp, "N must be at least 0 and C at least 1");
  require(N == 0 || (s != nullptr && residual != nullptr && x != nullptr), kOp, "s, residual and x must be given");
  require(y == nullptr || (y != s && y != x && y != residual), kOp, "y must be an array of its own");
  require_dropout(kOp, dropout, keys, launch);
  require_arm(kOp, options.dtype, launch);
  require_device_memory("residual_norm_forward", launch,
                        {{"s", s},
                         {"y", y},
                         {"mean", mean},
                         {"rstd", rstd},
                         {"residual", residual},
                         {"x", x},
                         {"weight", weight},
                         {"bias", bias},
                         {"keys.sample", keys.sample},
                         {"keys.position", keys.position},
                         {"launch.step", launch.step}});
  if constexpr (kHasCuda)
    if (launch.device.type == DeviceType::kCuda)
      return detail::norm_forward_cuda(s, y, mean, rstd, residual, x, weight, bias, N, C, dropout, keys, options, launch);
  const cpu::NormForwardRows rows{.s = out(s),
                                  .y = out(y),
                                  .mean = mean,
                                  .rstd = rstd,
                                  .residual = in(residual),
                                  .x = in(x),
                                  .weight = weight,
                                  .bias = bias,
                                  .N = static_cast<std::size_t>(N),
                                  .C = static_cast<std::size_t>(C),
                                  .epsilon = options.epsilon,
                                  .key = key_of(dropout, launch),
                                  .threshold = threshold_of(dropout),
                                  .sample = keys.sample,
                                  .position = keys.position,
                                  .stream = false};
  cpu::norm_forward(rows, options.kind, launch);
}

void residual_norm_backward(void* dresidual, void* dx, float* dweight, float* dbias, const void* dy, const void* ds,
                            const void* s, const float* mean, const float* rstd, const float* weight, std::int64_t N,
                            std::int64_t C, const Dropout& dropout, const RowKeys& keys, Write write_dw,
                            const NormOptions& options, const Launch& launch) {
  constexpr const char* kOp = "residual_norm_backward";
  if (dy != nullptr) {
    require_norm(kOp, N, C, mean, rstd, options);
    require(N == 0 || s != nullptr, kOp, "s must be given");
  }
  require(N >= 0 && C > 0, kOp, "N must be at least 0 and C at least 1");
  require(N == 0 || dresidual != nullptr, kOp, "dresidual must be given");
  require(N == 0 || dy != nullptr || ds != nullptr, kOp, "dy or ds must be given");
  require(dx != nullptr || threshold_of(dropout) == 0 || N == 0, kOp, "dx must be given where there is dropout");
  require(dx == nullptr || dx != dresidual, kOp, "dx and dresidual must be two arrays");
  require(dy == nullptr || dy != dresidual || ds == nullptr || ds != dy, kOp, "dresidual may be ds, not dy");
  require_dropout(kOp, dropout, keys, launch);
  require_arm(kOp, options.dtype, launch);
  require_device_memory("residual_norm_backward", launch,
                        {{"dresidual", dresidual},
                         {"dx", dx},
                         {"dweight", dweight},
                         {"dbias", dbias},
                         {"dy", dy},
                         {"ds", ds},
                         {"s", s},
                         {"mean", mean},
                         {"rstd", rstd},
                         {"weight", weight},
                         {"keys.sample", keys.sample},
                         {"keys.position", keys.position},
                         {"launch.step", launch.step}});
  if constexpr (kHasCuda)
    if (launch.device.type == DeviceType::kCuda)
      return detail::norm_backward_cuda(dresidual, dx, dweight, dbias, dy, ds, s, mean, rstd, weight, N, C, dropout, keys,
                                        write_dw, options, launch);
  const cpu::NormBackwardRows rows{.out = out(dresidual),
                                   .masked = out(dx),
                                   .dweight = dweight,
                                   .dbias = dbias,
                                   .dy = in(dy),
                                   .add = in(ds),
                                   .x = in(s),
                                   .mean = mean,
                                   .rstd = rstd,
                                   .weight = weight,
                                   .N = static_cast<std::size_t>(N),
                                   .C = static_cast<std::size_t>(C),
                                   .key = key_of(dropout, launch),
                                   .threshold = threshold_of(dropout),
                                   .sample = keys.sample,
                                   .position = keys.position,
                                   .stream = false};
  cpu::norm_backward(rows, options.kind, write_dw, launch);
}

}  // namespace tradewind::kernels
