#include "runtime/ops/dropout.h"

#include "kernels/dropout.h"

namespace tradewind::runtime {

Variable dropout(Tape& tape, const Variable& x, const kernels::Dropout& dropout, const Sequences& rows) {
  if (dropout.p == 0.0F) return x;
  const std::int64_t N = x.size(0), C = x.size(1);
  Variable y = tape.variable(tape.context().tensor({N, C}, x.value().dtype()), {&x});
  kernels::dropout_apply(y.value().raw(), x.value().raw(), N, C, dropout, rows.keys(), kernels::Write::kAssign,
                         x.value().dtype(), tape.context().launch());
  if (!y.needs_gradient()) return y;
  tape.record({}, [&tape, x, y, dropout, rows, N, C] {
    const Tensor dy = y.take_gradient();
    if (!dy.defined()) return;
    const auto [dx, write] = tape.gradient_of(x);
    kernels::dropout_apply(dx.raw(), dy.raw(), N, C, dropout, rows.keys(), write, dy.dtype(), tape.context().launch());
  });
  return y;
}

}  // namespace tradewind::runtime
