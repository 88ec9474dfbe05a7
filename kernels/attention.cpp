#include "kernels/attention.h"

#include <string>

#include "kernels/base/dispatch.h"
#include "kernels/cpu/attention_plan.h"
#include "kernels/cuda/attention.h"

namespace tradewind::kernels {
namespace {

void check_offsets(const char* op, const std::int64_t* offsets, std::int64_t B, std::int64_t longest, const char* name) {
  for (std::int64_t b = 0; b < B; ++b) {
    const std::int64_t rows = offsets[b + 1] - offsets[b];
    if (rows < 0 || rows > longest)
      throw InternalError(std::string(op) + ": " + name + " gives sequence " + std::to_string(b) + " " + std::to_string(rows) +
                          " rows; expected 0 to " + std::to_string(longest) + " (max_q, max_k)");
  }
}

void check(const char* op, const AttentionShape& s, const AttentionOptions& o, const Launch& launch) {
  require_float32_on_cpu(op, launch, o.dtype);
  require(s.B >= 0 && s.H > 0 && s.H_kv > 0 && s.D > 0, op, "B, H, H_kv and D must be positive");
  require(s.H % s.H_kv == 0, op, "H must be a multiple of H_kv");
  require(s.q_stride >= s.H * s.D && s.out_stride >= s.H * s.D, op, "q_stride and out_stride must hold H * D elements");
  require(s.k_stride >= s.H_kv * s.D && s.v_stride >= s.H_kv * s.D, op, "k_stride and v_stride must hold H_kv * D elements");
  require(o.window >= 0, op, "window must not be negative (0: no limit)");
  require(o.dropout.p >= 0.0F && o.dropout.p < 1.0F, op, "dropout.p must be in [0, 1)");
  require(o.dropout.p == 0.0F || (launch.step != nullptr && o.keys.sample != nullptr && o.keys.position != nullptr), op,
          "dropout needs launch.step and options.keys");
  if (launch.device.type != DeviceType::kCpu) return;  // offsets are in device memory
  check_offsets(op, s.q_offsets, s.B, s.max_q, "q_offsets");
  check_offsets(op, s.k_offsets, s.B, s.max_k, "k_offsets");
  for (std::int64_t b = 0; s.k_lengths != nullptr && b < s.B; ++b)
    if (s.k_lengths[b] < 0 || s.k_lengths[b] > s.k_offsets[b + 1] - s.k_offsets[b])
      throw InternalError(std::string(op) + ": k_lengths[" + std::to_string(b) + "] = " + std::to_string(s.k_lengths[b]) +
                          " is not within the sequence's " + std::to_string(s.k_offsets[b + 1] - s.k_offsets[b]) + " rows");
}

}  // namespace

void attention_forward(void* out, float* lse, const void* q, const void* k, const void* v, const AttentionShape& shape,
                       const AttentionOptions& options, const Launch& launch) {
  check("attention_forward", shape, options, launch);
  if (launch.device.type == DeviceType::kCuda) {
    if constexpr (kHasCuda) {
      require_device_memory("attention_forward", launch,
                            {{"out", out},
                             {"lse", lse},
                             {"q", q},
                             {"k", k},
                             {"v", v},
                             {"q_offsets", shape.q_offsets},
                             {"k_offsets", shape.k_offsets},
                             {"k_lengths", shape.k_lengths},
                             {"bias", options.bias},
                             {"launch.step", launch.step}});
      return detail::attention_forward_cuda(out, lse, q, k, v, shape, options, launch);
    } else {
      throw_no_cuda("attention_forward");
    }
  }
  detail::attention_forward_cpu(static_cast<float*>(out), lse, static_cast<const float*>(q), static_cast<const float*>(k),
                                static_cast<const float*>(v), shape, options, launch);
}

void attention_backward(void* dq, void* dk, void* dv, float* dbias, const void* dout, const void* out, const float* lse,
                        const void* q, const void* k, const void* v, const AttentionShape& shape,
                        const AttentionOptions& options, const Launch& launch) {
  check("attention_backward", shape, options, launch);
  require(lse != nullptr || shape.B == 0 || shape.max_q == 0, "attention_backward", "needs the lse of attention_forward");
  require(dbias == nullptr || options.bias != nullptr, "attention_backward", "dbias was asked for without a bias");
  if (launch.device.type == DeviceType::kCuda) {
    if constexpr (kHasCuda) {
      require_device_memory("attention_backward", launch,
                            {{"dq", dq},
                             {"dk", dk},
                             {"dv", dv},
                             {"dbias", dbias},
                             {"dout", dout},
                             {"out", out},
                             {"lse", lse},
                             {"q", q},
                             {"k", k},
                             {"v", v},
                             {"q_offsets", shape.q_offsets},
                             {"k_offsets", shape.k_offsets},
                             {"k_lengths", shape.k_lengths},
                             {"bias", options.bias},
                             {"launch.step", launch.step}});
      return detail::attention_backward_cuda(dq, dk, dv, dbias, dout, out, lse, q, k, v, shape, options, launch);
    } else {
      throw_no_cuda("attention_backward");
    }
  }
  detail::attention_backward_cpu(static_cast<float*>(dq), static_cast<float*>(dk), static_cast<float*>(dv), dbias,
                                 static_cast<const float*>(dout), static_cast<const float*>(out), lse,
                                 static_cast<const float*>(q), static_cast<const float*>(k), static_cast<const float*>(v),
                                 shape, options, launch);
}

}  // namespace tradewind::kernels
