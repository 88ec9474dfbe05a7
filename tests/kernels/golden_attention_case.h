// The golden values of attention, on every executor: see golden_case.h.
#pragma once

#include <algorithm>
#include <cmath>

#include "kernels/attention.h"
#include "tests/kernels/golden_case.h"

namespace tradewind::tests {

struct GoldenAttention {
  const char* name;
  bool causal;
  std::int64_t window;
};
inline constexpr GoldenAttention kGoldenAttention[] = {
    {"causal", true, 0},  {"causal_cached", true, 0}, {"padding", false, 0},
    {"bias", false, 0},   {"bias_causal", true, 0},   {"cross", false, 0},
    {"grouped", true, 0}, {"packed", true, 0},        {"sliding_window", true, 3}};

/// A tensor [B, H, T, D] of the file as rows [B T, H, D].
inline std::vector<float> rows_of_heads(const GoldenTensor& tensor) {
  const std::int64_t H = tensor.shape[1], T = tensor.shape[2], D = tensor.shape[3];
  std::vector<float> rows(tensor.values.size());
  for (std::int64_t i = 0; i < tensor.elements(); ++i) {
    const std::int64_t d = i % D, t = i / D % T, h = i / D / T % H, b = i / D / T / H;
    rows[((b * T + t) * H + h) * D + d] = tensor.values[i];
  }
  return rows;
}

inline void check_golden_attention(const GoldenAttention& g, const GoldenWay& way) {
  const std::string name = std::string("attention_") + g.name;
  const GoldenTensors file = golden_layer(name);
  const auto &qs = file["query"].shape, &ks = file["key"].shape;
  const std::int64_t B = qs[0], H = qs[1], Tq = qs[2], D = qs[3], H_kv = ks[1], Tk = ks[2];
  std::vector<std::int64_t> q_offsets, k_offsets, lengths;
  if (file.has("document")) {  // one row, cut where the document changes
    const auto& document = file["document"].ints;
    for (std::int64_t t = 0; t < Tq; ++t)
      if (t == 0 || document[t] != document[t - 1]) q_offsets.push_back(t);
    q_offsets.push_back(Tq);
    k_offsets = q_offsets;
  } else {
    for (std::int64_t b = 0; b <= B; ++b) q_offsets.push_back(b * Tq), k_offsets.push_back(b * Tk);
  }
  if (file.has("lengths")) lengths = file["lengths"].ints;
  const auto q = rows_of_heads(file["query"]), k = rows_of_heads(file["key"]), v = rows_of_heads(file["value"]),
             dout = rows_of_heads(file["grad_out"]);
  const std::vector<float> bias = file.has("bias") ? file.values("bias") : std::vector<float>{};
  std::vector<float> out(q.size()), lse(B * Tq * H), dq(q.size()), dk(k.size()), dv(v.size()), dbias(bias.size());
  PlacedArrays at(way.place, DType::kFloat32);
  const kernels::AttentionShape shape{.B = static_cast<std::int64_t>(q_offsets.size()) - 1,
                                      .q_offsets = at.values(q_offsets),
                                      .k_offsets = at.values(k_offsets),
                                      .k_lengths = at.values(lengths),
                                      .max_q = Tq,
                                      .max_k = Tk,
                                      .H = H,
                                      .H_kv = H_kv,
                                      .D = D,
                                      .q_stride = H * D,
                                      .k_stride = H_kv * D,
                                      .v_stride = H_kv * D,
                                      .out_stride = H * D};
  kernels::AttentionOptions options{};
  options.scale = static_cast<float>(1 / std::sqrt(static_cast<double>(D)));
  options.causal = g.causal;
  options.window = g.window;
  options.bias = at.values(bias);
  if (!bias.empty()) options.bias_stride_h = Tq * Tk, options.bias_stride_q = Tk;
  void* to = at.elements(out);
  float* to_lse = at.array(lse);
  const void *on_q = at.read(q), *on_k = at.read(k), *on_v = at.read(v);
  kernels::attention_forward(to, to_lse, on_q, on_k, on_v, shape, options, at.launch(2));
  kernels::attention_backward(at.elements(dq), at.elements(dk), at.elements(dv), at.array(dbias), at.read(dout), to, to_lse,
                              on_q, on_k, on_v, shape, options, at.launch(2));
  at.fetch();
  check_close(name + " out", out, rows_of_heads(file["out"]), way.on(1e-6, 2e-6));
  const double gradient = way.on(2e-6, 1e-5);
  check_close(name + " dq", dq, rows_of_heads(file["grad_query"]), gradient);
  check_close(name + " dk", dk, rows_of_heads(file["grad_key"]), gradient);
  check_close(name + " dv", dv, rows_of_heads(file["grad_value"]), gradient);
  if (!bias.empty()) check_close(name + " dbias", dbias, file.values("grad_bias"), gradient);
}

}  // namespace tradewind::tests
