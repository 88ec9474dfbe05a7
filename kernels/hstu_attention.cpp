#include "kernels/hstu_attention.h"

#include <cmath>
#include <limits>
#include <string>

#include "kernels/base/dispatch.h"
#include "kernels/cpu/hstu_attention.h"
#include "kernels/cuda/hstu_attention.h"

namespace tradewind::kernels {

TimeBuckets::TimeBuckets(std::int64_t buckets) {
  const auto bucket_of = [](std::int64_t seconds) {
    return static_cast<std::int64_t>(std::log(static_cast<double>(seconds)) / 0.301);
  };
  first.fill(std::numeric_limits<std::int64_t>::max());
  first[0] = 0;
  for (std::int64_t b = 1; b < buckets; ++b) {
    std::int64_t low = 1, high = std::int64_t{1} << 62;  // bucket_of(low) < b <= bucket_of(high)
    while (high - low > 1) {
      const std::int64_t middle = low + (high - low) / 2;
      (bucket_of(middle) < b ? low : high) = middle;
    }
    first[static_cast<std::size_t>(b)] = high;
  }
}

namespace {

void check(const char* op, const HstuAttentionShape& s, const HstuAttentionOptions& o, const Launch& launch) {
  require_float32_on_cpu(op, launch, o.dtype);
  require(s.B >= 0 && s.H > 0 && s.D > 0 && s.Dv > 0, op, "B, H, D and Dv must be positive");
  require(s.q_stride >= s.H * s.D && s.k_stride >= s.H * s.D, op, "q_stride and k_stride must hold H * D elements");
  require(s.v_stride >= s.H * s.Dv && s.out_stride >= s.H * s.Dv, op, "v_stride and out_stride must hold H * Dv elements");
  if (o.position_bias != nullptr && s.max_length > o.positions)
    throw InternalError(std::string(op) + ": a sequence of " + std::to_string(s.max_length) + " rows is longer than the " +
                        std::to_string(o.positions) + " positions of the bias");
  if (o.time_bias != nullptr) {
    require(s.max_length == 0 || (o.query_times != nullptr && o.key_times != nullptr), op,
            "a time bias needs the times of the rows");
    require(o.time_buckets >= 1 && o.time_buckets <= TimeBuckets::kMost, op, "there may be 1 to 129 time buckets");
  }
  if (launch.device.type != DeviceType::kCpu) return;  // offsets are in device memory
  for (std::int64_t b = 0; b < s.B; ++b) {
    const std::int64_t rows = s.offsets[b + 1] - s.offsets[b];
    if (rows < 0 || rows > s.max_length)
      throw InternalError(std::string(op) + ": offsets give sequence " + std::to_string(b) + " " + std::to_string(rows) +
                          " rows; expected 0 to " + std::to_string(s.max_length) + " (max_length)");
  }
}

}  // namespace

void hstu_attention_forward(void* out, const void* q, const void* k, const void* v, const HstuAttentionShape& shape,
                            const HstuAttentionOptions& options, const Launch& launch) {
  const char* op = "hstu_attention_forward";
  check(op, shape, options, launch);
  if (launch.device.type == DeviceType::kCuda) {
    if constexpr (kHasCuda) {
      require_device_memory(op, launch,
                            {{"out", out},
                             {"q", q},
                             {"k", k},
                             {"v", v},
                             {"offsets", shape.offsets},
                             {"position_bias", options.position_bias},
                             {"time_bias", options.time_bias},
                             {"query_times", options.query_times},
                             {"key_times", options.key_times}});
      return detail::hstu_attention_forward_cuda(out, q, k, v, shape, options, launch);
    } else {
      throw_no_cuda(op);
    }
  }
  cpu::hstu_attention_forward({.out = static_cast<float*>(out),
                               .q = static_cast<const float*>(q),
                               .k = static_cast<const float*>(k),
                               .v = static_cast<const float*>(v)},
                              shape, options, launch);
}

void hstu_attention_backward(void* dq, void* dk, void* dv, const HstuBiasGradients& dbias, const void* dout, const void* q,
                             const void* k, const void* v, const HstuAttentionShape& shape, const HstuAttentionOptions& options,
                             const Launch& launch) {
  const char* op = "hstu_attention_backward";
  check(op, shape, options, launch);
  require(dbias.position == nullptr || options.position_bias != nullptr, op, "a gradient was asked for without position_bias");
  require(dbias.time == nullptr || options.time_bias != nullptr, op, "a gradient was asked for without time_bias");
  if (launch.device.type == DeviceType::kCuda) {
    if constexpr (kHasCuda) {
      require_device_memory(op, launch,
                            {{"dq", dq},
                             {"dk", dk},
                             {"dv", dv},
                             {"dbias.position", dbias.position},
                             {"dbias.time", dbias.time},
                             {"dout", dout},
                             {"q", q},
                             {"k", k},
                             {"v", v},
                             {"offsets", shape.offsets},
                             {"position_bias", options.position_bias},
                             {"time_bias", options.time_bias},
                             {"query_times", options.query_times},
                             {"key_times", options.key_times}});
      return detail::hstu_attention_backward_cuda(dq, dk, dv, dbias, dout, q, k, v, shape, options, launch);
    } else {
      throw_no_cuda(op);
    }
  }
  cpu::hstu_attention_backward({.dq = static_cast<float*>(dq),
                                .dk = static_cast<float*>(dk),
                                .dv = static_cast<float*>(dv),
                                .dout = static_cast<const float*>(dout),
                                .q = static_cast<const float*>(q),
                                .k = static_cast<const float*>(k),
                                .v = static_cast<const float*>(v)},
                               dbias, shape, options, launch);
}

}  // namespace tradewind::kernels
