#include "runtime/ops/mlp.h"

#include <algorithm>
#include <tuple>

#include "kernels/dropout.h"
#include "kernels/linear.h"
#include "runtime/ops/linear.h"

namespace tradewind::runtime {
namespace {

using kernels::Write;

struct Mlp {
  MlpParameters p;
  kernels::Activation activation;
  bool gated;
  std::int64_t N, C, F, P;  // P: width before the activation, F or 2 F
  DType dtype;
  bool on_gpu;
  kernels::Dropout inner;
  Sequences sequences;

  std::int64_t chunk() const {
    // Of hidden values: 8 MiB of float32 stay in a CPU's last-level cache; a GPU wants rows for all its processors.
    const std::int64_t elements = std::int64_t{2} << (on_gpu ? 26 : 20);
    return std::clamp<std::int64_t>(elements / P / 64 * 64, 64, std::max<std::int64_t>(N, 64));
  }

  /// In place, of rows n and on.
  void drop(const Tensor& hidden, std::int64_t n, std::int64_t rows, const kernels::Launch& launch) const {
    if (inner.p == 0.0F) return;
    kernels::RowKeys keys = sequences.keys();
    keys.sample += n;
    keys.position += n;
    kernels::dropout_apply(hidden.raw(), hidden.raw(), rows, F, inner, keys, Write::kAssign, dtype, launch);
  }

  kernels::LinearShape up(std::int64_t rows) const { return {.M = rows, .N = P, .K = C}; }
  kernels::LinearShape down(std::int64_t rows) const { return {.M = rows, .N = C, .K = F}; }
  kernels::LinearOptions options() const { return {.dtype = dtype}; }
  kernels::LinearOptions activated() const { return {.dtype = dtype, .activation = activation}; }
};

const void* raw(const Parameter* p) { return p == nullptr ? nullptr : p->compute().raw(); }
float* gradient(const Parameter* p) { return p == nullptr ? nullptr : p->gradient().data<float>(); }

void forward(const Mlp& m, const Tensor& y, const Tensor& pre, bool keep, const Tensor& x, const Context& context) {
  const auto launch = context.launch();
  const std::int64_t chunk = m.chunk();
  const Tensor hidden = context.tensor({std::min(chunk, m.N), m.F}, m.dtype);
  for (std::int64_t n = 0; n < m.N; n += chunk) {
    const std::int64_t rows = std::min(chunk, m.N - n);
    void* at = pre.at(keep ? n * m.P : 0);
    if (m.gated) {
      kernels::linear_forward(at, nullptr, x.at(n * m.C), raw(m.p.up_weight), raw(m.p.up_bias), m.up(rows), m.options(),
                              launch);
      kernels::swiglu_forward(hidden.raw(), at, rows, m.F, m.dtype, launch);
    } else {
      kernels::linear_forward(hidden.raw(), at, x.at(n * m.C), raw(m.p.up_weight), raw(m.p.up_bias), m.up(rows), m.activated(),
                              launch);
    }
    m.drop(hidden, n, rows, launch);
    kernels::linear_forward(y.at(n * m.C), nullptr, hidden.raw(), raw(m.p.down_weight), raw(m.p.down_bias), m.down(rows),
                            m.options(), launch);
  }
}

/// dx may be undefined: not wanted.
void backward(const Mlp& m, const Tensor& dx, Write write_dx, const Tensor& dy, const Tensor& pre, const Tensor& x,
              const Context& context) {
  const auto launch = context.launch();
  const std::int64_t chunk = m.chunk();
  const Tensor hidden = context.tensor({std::min(chunk, m.N), m.F}, m.dtype);
  const Tensor dhidden = context.tensor({std::min(chunk, m.N), m.F}, m.dtype);
  const Tensor dpre = m.gated ? context.tensor({std::min(chunk, m.N), m.P}, m.dtype) : dhidden;
  Write write_up = touch_together(*m.p.up_weight, m.p.up_bias);
  Write write_down = touch_together(*m.p.down_weight, m.p.down_bias);
  for (std::int64_t n = 0; n < m.N; n += chunk) {
    const std::int64_t rows = std::min(chunk, m.N - n);
    const void *dy_n = dy.at(n * m.C), *pre_n = pre.at(n * m.P), *x_n = x.at(n * m.C);
    kernels::linear_backward_input(dhidden.raw(), dy_n, raw(m.p.down_weight), m.down(rows), Write::kAssign, m.options(),
                                   launch);
    m.drop(dhidden, n, rows, launch);
    if (m.gated) {
      kernels::swiglu_forward(hidden.raw(), pre_n, rows, m.F, m.dtype, launch);
      kernels::swiglu_backward(dpre.raw(), dhidden.raw(), pre_n, rows, m.F, Write::kAssign, m.dtype, launch);
    } else {
      kernels::activation_backward(dpre.raw(), hidden.raw(), dhidden.raw(), pre_n, rows * m.F, m.activation, Write::kAssign,
                                   m.dtype, launch);
    }
    m.drop(hidden, n, rows, launch);
    kernels::linear_backward_weight(gradient(m.p.down_weight), gradient(m.p.down_bias), dy_n, hidden.raw(), m.down(rows),
                                    write_down, m.options(), launch);
    kernels::linear_backward_weight(gradient(m.p.up_weight), gradient(m.p.up_bias), dpre.raw(), x_n, m.up(rows), write_up,
                                    m.options(), launch);
    if (dx.defined())
      kernels::linear_backward_input(dx.at(n * m.C), dpre.raw(), raw(m.p.up_weight), m.up(rows), write_dx, m.options(), launch);
    write_up = write_down = Write::kAccumulate;
  }
}

}  // namespace

Variable mlp(Tape& tape, const Variable& x, const MlpParameters& parameters, kernels::Activation activation, bool gated,
             const kernels::Dropout& inner, const Sequences& rows) {
  const std::int64_t P = parameters.up_weight->shape()[0];
  const Mlp m{.p = parameters,
              .activation = activation,
              .gated = gated,
              .N = x.size(0),
              .C = x.size(1),
              .F = gated ? P / 2 : P,
              .P = P,
              .dtype = x.value().dtype(),
              .on_gpu = !x.value().on_host(),
              .inner = inner,
              .sequences = rows};
  Context& context = tape.context();
  Variable y = tape.variable(context.tensor({m.N, m.C}, m.dtype));
  const Tensor pre = context.tensor({tape.recording() ? m.N : std::min(m.chunk(), m.N), m.P}, m.dtype);
  forward(m, y.value(), pre, tape.recording(), x.value(), context);
  tape.record({parameters.up_weight, parameters.up_bias, parameters.down_weight, parameters.down_bias}, [&tape, m, x, y, pre] {
    const Tensor dy = y.take_gradient();
    if (!dy.defined()) return;
    Tensor dx;
    Write write = Write::kAssign;
    if (x.needs_gradient()) std::tie(dx, write) = tape.gradient_of(x);
    backward(m, dx, write, dy, pre, x.value(), tape.context());
  });
  return y;
}

}  // namespace tradewind::runtime
