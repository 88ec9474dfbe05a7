#include "runtime/ops/attention.h"

namespace tradewind::runtime {

Variable self_attention(Tape& tape, const Variable& qkv, const AttentionHeads& heads, const Sequences& rows,
                        const kernels::AttentionOptions& options) {
  const std::int64_t N = qkv.size(0), width = heads.width(), out_width = heads.query * heads.size;
  require(qkv.size(1) == width, "self_attention", "qkv has another width than its heads");
  const auto* offsets = rows.offsets.data<std::int64_t>();
  const kernels::AttentionShape shape{.B = rows.count(),
                                      .q_offsets = offsets,
                                      .k_offsets = offsets,
                                      .k_lengths = nullptr,
                                      .max_q = rows.max_length,
                                      .max_k = rows.max_length,
                                      .H = heads.query,
                                      .H_kv = heads.key_value,
                                      .D = heads.size,
                                      .q_stride = width,
                                      .k_stride = width,
                                      .v_stride = width,
                                      .out_stride = out_width};
  const std::int64_t k_at = heads.query * heads.size, v_at = k_at + heads.key_value * heads.size;
  kernels::AttentionOptions with_keys = options;
  with_keys.keys = rows.keys();
  Context& context = tape.context();
  Variable out = tape.variable(context.tensor({N, out_width}), {&qkv});
  const Tensor lse = tape.recording() ? context.tensor({N, heads.query}) : Tensor();
  const float* q = qkv.value().data<float>();
  kernels::attention_forward(out.value().raw(), tape.recording() ? lse.data<float>() : nullptr, q, q + k_at, q + v_at, shape,
                             with_keys, context.launch());
  if (!out.needs_gradient()) return out;
  tape.record({}, [&tape, qkv, out, lse, rows, shape, with_keys, k_at, v_at] {
    const Tensor dout = out.take_gradient();
    if (!dout.defined()) return;
    const Tensor dqkv = tape.context().tensor(qkv.value().shape());
    const float* x = qkv.value().data<float>();
    float* dx = dqkv.data<float>();
    kernels::attention_backward(dx, dx + k_at, dx + v_at, nullptr, dout.raw(), out.value().raw(), lse.data<float>(), x,
                                x + k_at, x + v_at, shape, with_keys, tape.context().launch());
    tape.contribute(qkv, dqkv);
  });
  return out;
}

}  // namespace tradewind::runtime
