#include "runtime/ops/prefix_mean.h"

#include <algorithm>

#include "kernels/attention.h"

namespace tradewind::runtime {
namespace {

/// Channels are independent of each other, so any cut into heads will do: the widest up to 128.
std::int64_t head_size(std::int64_t C) {
  std::int64_t size = std::min<std::int64_t>(C, 128);
  while (C % size != 0) --size;
  return size;
}

}  // namespace

Variable prefix_mean(Tape& tape, const Variable& x, const Sequences& rows, std::int64_t window) {
  const std::int64_t N = x.size(0), C = x.size(1), D = head_size(C), H = C / D;
  const auto* offsets = rows.offsets.data<std::int64_t>();
  const kernels::AttentionShape shape{.B = rows.count(),
                                      .q_offsets = offsets,
                                      .k_offsets = offsets,
                                      .max_q = rows.max_length,
                                      .max_k = rows.max_length,
                                      .H = H,
                                      .H_kv = H,
                                      .D = D,
                                      .q_stride = C,
                                      .k_stride = C,
                                      .v_stride = C,
                                      .out_stride = C};
  const kernels::AttentionOptions options{.scale = 1, .causal = true, .window = window, .dtype = x.value().dtype()};
  Context& context = tape.context();
  const bool train = tape.recording();
  Tensor zeros = context.tensor({N, C}, options.dtype);
  zeros.zero();
  Variable y = tape.variable(context.tensor({N, C}, options.dtype), {&x});
  const Tensor lse = train ? context.tensor({N, H}) : Tensor();
  kernels::attention_forward(y.value().raw(), train ? lse.data<float>() : nullptr, zeros.raw(), zeros.raw(), x.value().raw(),
                             shape, options, context.launch());
  if (!y.needs_gradient()) return y;
  tape.record({}, [&tape, x, y, lse, zeros, rows, shape, options] {
    const Tensor dy = y.take_gradient();
    if (!dy.defined()) return;
    Context& at = tape.context();
    const Tensor dq = at.tensor(zeros.shape(), zeros.dtype()), dk = at.tensor(zeros.shape(), zeros.dtype()),
                 dx = at.tensor(zeros.shape(), zeros.dtype());
    kernels::attention_backward(dq.raw(), dk.raw(), dx.raw(), nullptr, dy.raw(), y.value().raw(), lse.data<float>(),
                                zeros.raw(), zeros.raw(), x.value().raw(), shape, options, at.launch());
    tape.contribute(x, dx);
  });
  return y;
}

}  // namespace tradewind::runtime
