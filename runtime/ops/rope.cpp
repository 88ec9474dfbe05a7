#include "runtime/ops/rope.h"

namespace tradewind::runtime {

Variable rope(Tape& tape, const Variable& x, const Tensor& positions, std::int64_t heads, std::int64_t D,
              const kernels::RopeOptions& options) {
  const std::int64_t N = x.size(0), width = x.size(1);
  kernels::RopeOptions forward = options;
  forward.dtype = x.value().dtype();
  kernels::rope_apply(x.value().raw(), positions.data<std::int32_t>(), N, heads, D, width, forward, tape.context().launch());
  Variable y = tape.variable(x.value(), {&x});
  if (!y.needs_gradient()) return y;
  tape.record({}, [&tape, x, y, positions, heads, D, N, width, forward] {
    const Tensor dy = y.take_gradient();
    if (!dy.defined()) return;
    require(dy.unique(), "rope", "the gradient of its output is shared");
    kernels::RopeOptions back = forward;
    back.backward = true;
    kernels::rope_apply(dy.raw(), positions.data<std::int32_t>(), N, heads, D, width, back, tape.context().launch());
    tape.contribute(x, dy);
  });
  return y;
}

}  // namespace tradewind::runtime
