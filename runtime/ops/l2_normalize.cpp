#include "runtime/ops/l2_normalize.h"

namespace tradewind::runtime {

Variable l2_normalize(Tape& tape, const Variable& x, float epsilon) {
  const std::int64_t N = x.size(0), C = x.size(1);
  Context& context = tape.context();
  const kernels::L2NormalizeOptions options{.epsilon = epsilon, .dtype = x.value().dtype()};
  const Tensor length = context.tensor({N});
  Variable y = tape.variable(context.tensor({N, C}, x.value().dtype()), {&x});
  kernels::l2_normalize_forward(y.value().raw(), length.data<float>(), x.value().raw(), N, C, options, context.launch());
  tape.record({}, [&tape, x, y, length, options, N, C] {
    const Tensor dy = y.take_gradient();
    if (!dy.defined() || !x.needs_gradient()) return;
    const auto [dx, write] = tape.gradient_of(x);
    kernels::l2_normalize_backward(dx.raw(), dy.raw(), y.value().raw(), length.data<float>(), N, C, write, options,
                                   tape.context().launch());
  });
  return y;
}

}  // namespace tradewind::runtime
