#include "runtime/ops/norm.h"

#include "runtime/ops/linear.h"

namespace tradewind::runtime {
namespace {

using kernels::Write;

struct Statistics {
  Tensor mean, rstd;  // [N]
  Statistics(const Context& context, std::int64_t N, const kernels::NormOptions& options)
      : mean(options.kind == kernels::NormKind::kLayerNorm ? context.tensor({N}) : Tensor()), rstd(context.tensor({N})) {}
  float* mean_or_null() const { return static_cast<float*>(mean.raw()); }
};

/// The options, in the type of the activations.
kernels::NormOptions typed(kernels::NormOptions options, const Variable& x) {
  options.dtype = x.value().dtype();
  return options;
}

const float* value(const Parameter* p) { return p == nullptr ? nullptr : p->value().data<float>(); }
Write touch(const NormParameters& p) { return p.weight == nullptr ? Write::kAssign : touch_together(*p.weight, p.bias); }
float* gradient(const Parameter* p) { return p == nullptr ? nullptr : p->gradient().data<float>(); }

}  // namespace

Variable norm(Tape& tape, const Variable& x, const NormParameters& p) {
  const std::int64_t N = x.size(0), C = x.size(1);
  Context& context = tape.context();
  const kernels::NormOptions options = typed(p.options, x);
  Variable y = tape.variable(context.tensor({N, C}, options.dtype));
  const Statistics statistics(context, N, p.options);
  kernels::norm_forward(y.value().raw(), statistics.mean_or_null(), statistics.rstd.data<float>(), x.value().raw(),
                        value(p.weight), value(p.bias), N, C, options, context.launch());
  tape.record({p.weight, p.bias}, [&tape, x, y, statistics, p, options, N, C] {
    const Tensor dy = y.take_gradient();
    if (!dy.defined()) return;
    const Write write = touch(p);
    const auto [dx, write_dx] = tape.gradient_of(x);
    kernels::norm_backward(dx.raw(), gradient(p.weight), gradient(p.bias), dy.raw(), x.value().raw(), statistics.mean_or_null(),
                           statistics.rstd.data<float>(), value(p.weight), N, C, write_dx, write, options,
                           tape.context().launch());
  });
  return y;
}

Residual residual_norm(Tape& tape, const Variable& residual, const Variable& branch, const NormParameters& p,
                       const kernels::Dropout& dropout, const Sequences& rows) {
  const std::int64_t N = branch.size(0), C = branch.size(1);
  Context& context = tape.context();
  const kernels::NormOptions options = typed(p.options, branch);
  Residual out{.sum = tape.variable(context.tensor({N, C}, options.dtype)),
               .normalised = tape.variable(context.tensor({N, C}, options.dtype))};
  const Statistics statistics(context, N, p.options);
  kernels::residual_norm_forward(out.sum.value().raw(), out.normalised.value().raw(), statistics.mean_or_null(),
                                 statistics.rstd.data<float>(), residual.value().raw(), branch.value().raw(), value(p.weight),
                                 value(p.bias), N, C, dropout, rows.keys(), options, context.launch());
  tape.record({p.weight, p.bias}, [&tape, residual, branch, out, statistics, p, options, dropout, rows, N, C] {
    Tensor dy = out.normalised.take_gradient();
    Tensor ds = out.sum.take_gradient();
    if (!dy.defined() && !ds.defined()) return;
    Context& ctx = tape.context();
    const Write write = dy.defined() ? touch(p) : Write::kAccumulate;
    const Tensor dresidual = ds.defined() && ds.unique() ? ds : ctx.tensor({N, C}, options.dtype);
    // Without dropout both branches have the same gradient; they share it, and ops do not write into a shared gradient.
    const bool shared = dropout.p == 0.0F;
    const Tensor dbranch = shared ? dresidual : (dy.defined() && dy.unique() ? dy : ctx.tensor({N, C}, options.dtype));
    kernels::residual_norm_backward(
        dresidual.raw(), shared ? nullptr : dbranch.raw(), dy.defined() ? gradient(p.weight) : nullptr,
        dy.defined() ? gradient(p.bias) : nullptr, dy.raw(), ds.raw(), out.sum.value().raw(), statistics.mean_or_null(),
        statistics.rstd.data<float>(), value(p.weight), N, C, dropout, rows.keys(), write, options, ctx.launch());
    tape.contribute(residual, dresidual);
    tape.contribute(branch, dbranch);
  });
  return out;
}

}  // namespace tradewind::runtime
