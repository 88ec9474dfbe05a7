#include "runtime/ops/linear.h"

#include "kernels/linear.h"

namespace tradewind::runtime {

using kernels::Write;

Write touch_together(Parameter& weight, Parameter* bias) {
  const Write write = weight.touch();
  if (bias == nullptr) return write;
  const Write bias_write = bias->touch();
  if (bias_write == write) return write;
  (write == Write::kAssign ? weight : *bias).gradient().zero();
  return Write::kAccumulate;
}

Variable linear(Tape& tape, const Variable& x, Parameter& weight, Parameter* bias) {
  const kernels::LinearShape shape{.M = x.size(0), .N = weight.shape()[0], .K = weight.shape()[1]};
  require(x.size(1) == shape.K, "linear", "x and weight differ in their last dimension");
  const kernels::LinearOptions options{.dtype = x.value().dtype()};
  Variable y = tape.variable(tape.context().tensor({shape.M, shape.N}, options.dtype));
  kernels::linear_forward(y.value().raw(), nullptr, x.value().raw(), weight.compute().raw(),
                          bias == nullptr ? nullptr : bias->compute().raw(), shape, options, tape.context().launch());
  tape.record({&weight, bias}, [&tape, x, y, &weight, bias, shape, options] {
    const Tensor dy = y.take_gradient();
    if (!dy.defined()) return;
    const auto launch = tape.context().launch();
    const Write write = touch_together(weight, bias);
    kernels::linear_backward_weight(weight.gradient().data<float>(), bias == nullptr ? nullptr : bias->gradient().data<float>(),
                                    dy.raw(), x.value().raw(), shape, write, options, launch);
    if (!x.needs_gradient()) return;
    const auto [dx, write_dx] = tape.gradient_of(x);
    kernels::linear_backward_input(dx.raw(), dy.raw(), weight.compute().raw(), shape, write_dx, options, launch);
  });
  return y;
}

}  // namespace tradewind::runtime
