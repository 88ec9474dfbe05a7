#include "runtime/ops/mlp.h"

#include <algorithm>

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

  std::int64_t chunk() const {
    constexpr std::int64_t kCacheElements = std::int64_t{2} << 20;  // of hidden values: 8 MiB
    return std::clamp<std::int64_t>(kCacheElements / P / 64 * 64, 64, std::max<std::int64_t>(N, 64));
  }

  kernels::LinearShape up(std::int64_t rows) const { return {.M = rows, .N = P, .K = C}; }
  kernels::LinearShape down(std::int64_t rows) const { return {.M = rows, .N = C, .K = F}; }
};

const float* raw(const Parameter* p) { return p == nullptr ? nullptr : p->value().data<float>(); }
float* gradient(const Parameter* p) { return p == nullptr ? nullptr : p->gradient().data<float>(); }

void forward(const Mlp& m, float* y, float* pre, bool keep, const float* x, Context& context) {
  const auto launch = context.launch();
  const std::int64_t chunk = m.chunk();
  const Tensor hidden = context.tensor({std::min(chunk, m.N), m.F});
  for (std::int64_t n = 0; n < m.N; n += chunk) {
    const std::int64_t rows = std::min(chunk, m.N - n);
    float* at = pre + (keep ? n * m.P : 0);
    if (m.gated) {
      kernels::linear_forward(at, nullptr, x + n * m.C, raw(m.p.up_weight), raw(m.p.up_bias), m.up(rows), {}, launch);
      kernels::swiglu_forward(hidden.raw(), at, rows, m.F, DType::kFloat32, launch);
    } else {
      kernels::linear_forward(hidden.raw(), at, x + n * m.C, raw(m.p.up_weight), raw(m.p.up_bias), m.up(rows),
                              {.activation = m.activation}, launch);
    }
    kernels::linear_forward(y + n * m.C, nullptr, hidden.raw(), raw(m.p.down_weight), raw(m.p.down_bias), m.down(rows), {},
                            launch);
  }
}

void backward(const Mlp& m, float* dx, Write write_dx, const float* dy, const float* pre, const float* x, Context& context) {
  const auto launch = context.launch();
  const std::int64_t chunk = m.chunk();
  const Tensor hidden = context.tensor({std::min(chunk, m.N), m.F});
  const Tensor dhidden = context.tensor({std::min(chunk, m.N), m.F});
  const Tensor dpre = m.gated ? context.tensor({std::min(chunk, m.N), m.P}) : dhidden;
  Write write_up = touch_together(*m.p.up_weight, m.p.up_bias);
  Write write_down = touch_together(*m.p.down_weight, m.p.down_bias);
  for (std::int64_t n = 0; n < m.N; n += chunk) {
    const std::int64_t rows = std::min(chunk, m.N - n);
    const float *dy_n = dy + n * m.C, *pre_n = pre + n * m.P, *x_n = x + n * m.C;
    kernels::linear_backward_input(dhidden.raw(), dy_n, raw(m.p.down_weight), m.down(rows), Write::kAssign, {}, launch);
    if (m.gated) {
      kernels::swiglu_forward(hidden.raw(), pre_n, rows, m.F, DType::kFloat32, launch);
      kernels::swiglu_backward(dpre.raw(), dhidden.raw(), pre_n, rows, m.F, Write::kAssign, DType::kFloat32, launch);
    } else {
      kernels::activation_backward(dpre.raw(), hidden.raw(), dhidden.raw(), pre_n, rows * m.F, m.activation, Write::kAssign,
                                   DType::kFloat32, launch);
    }
    kernels::linear_backward_weight(gradient(m.p.down_weight), gradient(m.p.down_bias), dy_n, hidden.raw(), m.down(rows),
                                    write_down, {}, launch);
    kernels::linear_backward_weight(gradient(m.p.up_weight), gradient(m.p.up_bias), dpre.raw(), x_n, m.up(rows), write_up, {},
                                    launch);
    if (dx != nullptr)
      kernels::linear_backward_input(dx + n * m.C, dpre.raw(), raw(m.p.up_weight), m.up(rows), write_dx, {}, launch);
    write_up = write_down = Write::kAccumulate;
  }
}

}  // namespace

Variable mlp(Tape& tape, const Variable& x, const MlpParameters& parameters, kernels::Activation activation, bool gated) {
  const std::int64_t P = parameters.up_weight->shape()[0];
  const Mlp m{.p = parameters,
              .activation = activation,
              .gated = gated,
              .N = x.size(0),
              .C = x.size(1),
              .F = gated ? P / 2 : P,
              .P = P};
  Context& context = tape.context();
  Variable y = tape.variable(context.tensor({m.N, m.C}));
  const Tensor pre = context.tensor({tape.recording() ? m.N : std::min(m.chunk(), m.N), m.P});
  forward(m, y.value().data<float>(), pre.data<float>(), tape.recording(), x.value().data<float>(), context);
  tape.record({parameters.up_weight, parameters.up_bias, parameters.down_weight, parameters.down_bias}, [&tape, m, x, y, pre] {
    const Tensor dy = y.take_gradient();
    if (!dy.defined()) return;
    float* dx = nullptr;
    Write write = Write::kAssign;
    if (x.needs_gradient()) {
      const auto [to, how] = tape.gradient_of(x);
      dx = to.data<float>();
      write = how;
    }
    backward(m, dx, write, dy.data<float>(), pre.data<float>(), x.value().data<float>(), tape.context());
  });
  return y;
}

}  // namespace tradewind::runtime
