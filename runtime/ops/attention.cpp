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
  with_keys.dtype = qkv.value().dtype();
  Context& context = tape.context();
  Variable out = tape.variable(context.tensor({N, out_width}, with_keys.dtype), {&qkv});
  const Tensor lse = tape.recording() ? context.tensor({N, heads.query}) : Tensor();
  const Tensor& in = qkv.value();
  kernels::attention_forward(out.value().raw(), tape.recording() ? lse.data<float>() : nullptr, in.raw(), in.at(k_at),
                             in.at(v_at), shape, with_keys, context.launch());
  if (!out.needs_gradient()) return out;
  tape.record({}, [&tape, qkv, out, lse, rows, shape, with_keys, k_at, v_at] {
    const Tensor dout = out.take_gradient();
    if (!dout.defined()) return;
    const Tensor& x = qkv.value();
    const Tensor dqkv = tape.context().tensor(x.shape(), x.dtype());
    kernels::attention_backward(dqkv.raw(), dqkv.at(k_at), dqkv.at(v_at), nullptr, dout.raw(), out.value().raw(),
                                lse.data<float>(), x.raw(), x.at(k_at), x.at(v_at), shape, with_keys, tape.context().launch());
    tape.contribute(qkv, dqkv);
  });
  return out;
}

}  // namespace tradewind::runtime
