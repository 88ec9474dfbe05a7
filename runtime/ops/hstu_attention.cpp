#include "runtime/ops/hstu_attention.h"

#include "kernels/activation.h"
#include "kernels/gate.h"

namespace tradewind::runtime {
namespace {

using kernels::Write;

/// What forward and backward share: where things lie in a row of u, v, q, k, and the kernels' arguments.
struct Layer {
  HstuHeads heads;
  HstuBias bias;
  Sequences rows;
  kernels::NormOptions norm;
  std::int64_t N;
  float scale;

  std::int64_t v_at() const { return heads.out(); }
  std::int64_t q_at() const { return 2 * heads.out(); }
  std::int64_t k_at() const { return q_at() + heads.count * heads.query; }
  kernels::GateShape gate() const { return {.N = N, .C = heads.out(), .gate_stride = heads.width()}; }
  kernels::HstuAttentionShape shape() const {
    return {.B = rows.count(),
            .offsets = rows.offsets.data<std::int64_t>(),
            .max_length = rows.max_length,
            .H = heads.count,
            .D = heads.query,
            .Dv = heads.value,
            .q_stride = heads.width(),
            .k_stride = heads.width(),
            .v_stride = heads.width(),
            .out_stride = heads.out()};
  }
  kernels::HstuAttentionOptions options() const {
    kernels::HstuAttentionOptions o{.scale = scale, .dtype = norm.dtype};
    if (bias.position != nullptr) {
      o.position_bias = bias.position->value().data<float>();
      o.positions = bias.position->shape().elements();
    }
    if (bias.time != nullptr) {
      o.time_bias = bias.time->value().data<float>();
      o.time_buckets = bias.time->shape().elements();
      o.query_times = bias.query_times.data<std::int64_t>();
      o.key_times = bias.key_times.data<std::int64_t>();
    }
    return o;
  }
};

}  // namespace

Variable hstu_attention(Tape& tape, const Variable& x, const HstuHeads& heads, const HstuBias& bias, const Sequences& rows,
                        float scale, const kernels::NormOptions& norm) {
  const std::int64_t N = x.size(0);
  require(x.size(1) == heads.width(), "hstu_attention", "x has another width than its heads");
  Layer layer{.heads = heads, .bias = bias, .rows = rows, .norm = norm, .N = N, .scale = scale};
  layer.norm.dtype = x.value().dtype();
  const DType dtype = layer.norm.dtype;
  Context& context = tape.context();
  const Tensor active = context.tensor({N, heads.width()}, dtype), attended = context.tensor({N, heads.out()}, dtype);
  const Tensor normalised = context.tensor({N, heads.out()}, dtype), mean = context.tensor({N}), rstd = context.tensor({N});
  Variable y = tape.variable(context.tensor({N, heads.out()}, dtype));
  kernels::activation_forward(active.raw(), x.value().raw(), N * heads.width(), kernels::Activation::kSilu, dtype,
                              context.launch());
  kernels::hstu_attention_forward(attended.raw(), active.at(layer.q_at()), active.at(layer.k_at()), active.at(layer.v_at()),
                                  layer.shape(), layer.options(), context.launch());
  kernels::norm_forward(normalised.raw(), mean.data<float>(), rstd.data<float>(), attended.raw(), nullptr, nullptr, N,
                        heads.out(), layer.norm, context.launch());
  kernels::gate_forward(y.value().raw(), normalised.raw(), active.raw(), layer.gate(), dtype, context.launch());
  tape.record({bias.position, bias.time}, [&tape, x, y, layer, active, attended, normalised, mean, rstd, dtype, N] {
    const Tensor dy = y.take_gradient();
    if (!dy.defined()) return;
    const Context& at = tape.context();
    const std::int64_t C = layer.heads.out();
    const Tensor dx = at.tensor({N, layer.heads.width()}, dtype), dattended = at.tensor({N, C}, dtype);
    kernels::gate_backward(dattended.raw(), dx.raw(), dy.raw(), normalised.raw(), active.raw(), layer.gate(), dtype,
                           at.launch());
    kernels::norm_backward(dattended.raw(), nullptr, nullptr, dattended.raw(), attended.raw(), mean.data<float>(),
                           rstd.data<float>(), nullptr, N, C, Write::kAssign, Write::kAssign, layer.norm, at.launch());
    kernels::HstuBiasGradients tables;
    if (layer.bias.position != nullptr) {
      tables.position = layer.bias.position->gradient().data<float>();
      tables.write_position = layer.bias.position->touch();
    }
    if (layer.bias.time != nullptr) {
      tables.time = layer.bias.time->gradient().data<float>();
      tables.write_time = layer.bias.time->touch();
    }
    kernels::hstu_attention_backward(dx.at(layer.q_at()), dx.at(layer.k_at()), dx.at(layer.v_at()), tables, dattended.raw(),
                                     active.at(layer.q_at()), active.at(layer.k_at()), active.at(layer.v_at()), layer.shape(),
                                     layer.options(), at.launch());
    kernels::activation_backward(dx.raw(), nullptr, dx.raw(), x.value().raw(), N * layer.heads.width(),
                                 kernels::Activation::kSilu, Write::kAssign, dtype, at.launch());
    tape.contribute(x, dx);
  });
  return y;
}

}  // namespace tradewind::runtime
