#include "runtime/ops/linear.h"

#include <array>

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

Variable linear_of_two(Tape& tape, const Variable& a, const Variable& b, std::int64_t split, Parameter& weight,
                       Parameter* bias) {
  const std::int64_t N = a.size(0), M = weight.shape()[0], K = weight.shape()[1];
  require(a.size(1) == K && b.size(1) == K && b.size(0) == N && 0 < split && split < M, "linear_of_two", "shapes do not fit");
  struct Part {
    Variable x;
    std::int64_t first;  // row of the weight, column of y
    kernels::LinearShape shape;
  };
  const std::array<Part, 2> parts = {Part{a, 0, {.M = N, .N = split, .K = K, .ldy = M}},
                                     Part{b, split, {.M = N, .N = M - split, .K = K, .ldy = M}}};
  const kernels::LinearOptions options{.dtype = a.value().dtype()};
  Variable y = tape.variable(tape.context().tensor({N, M}, options.dtype));
  for (const Part& p : parts)
    kernels::linear_forward(y.value().at(p.first), nullptr, p.x.value().raw(), weight.compute().at(p.first * K),
                            bias == nullptr ? nullptr : bias->compute().at(p.first), p.shape, options, tape.context().launch());
  tape.record({&weight, bias}, [&tape, parts, y, &weight, bias, K, options] {
    const Tensor dy = y.take_gradient();
    if (!dy.defined()) return;
    const auto launch = tape.context().launch();
    const Write write = touch_together(weight, bias);
    for (const Part& p : parts) {
      kernels::linear_backward_weight(weight.gradient().data<float>() + p.first * K,
                                      bias == nullptr ? nullptr : bias->gradient().data<float>() + p.first, dy.at(p.first),
                                      p.x.value().raw(), p.shape, write, options, launch);
      if (!p.x.needs_gradient()) continue;
      const auto [dx, write_dx] = tape.gradient_of(p.x);
      kernels::linear_backward_input(dx.raw(), dy.at(p.first), weight.compute().at(p.first * K), p.shape, write_dx, options,
                                     launch);
    }
  });
  return y;
}

}  // namespace tradewind::runtime
