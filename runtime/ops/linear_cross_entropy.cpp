#include "runtime/ops/linear_cross_entropy.h"

#include "runtime/ops/linear.h"

namespace tradewind::runtime {

RowLosses linear_cross_entropy(Tape& tape, const Variable& x, Parameter& weight, Parameter* bias, const Tensor& targets,
                               const kernels::LinearCrossEntropyOptions& options, std::int64_t classes) {
  const std::int64_t N = x.size(0), C = x.size(1), rows = weight.shape()[0], V = classes > 0 ? classes : rows;
  require(V <= rows && (V == rows || bias == nullptr), "linear_cross_entropy", "more classes than rows, or a bias of more");
  Context& context = tape.context();
  const bool train = tape.recording();
  RowLosses out{.loss = context.tensor({N}), .nll = context.tensor({N})};
  const Tensor dx = train ? context.tensor({N, C}, x.value().dtype()) : Tensor();
  kernels::LinearCrossEntropyOptions typed = options;
  typed.dtype = x.value().dtype();
  const auto write = train ? touch_together(weight, bias) : kernels::Write::kAssign;
  if (train && V < rows && write == kernels::Write::kAssign) weight.gradient().view(V * C, {rows - V, C}).zero();
  kernels::linear_cross_entropy(
      out.loss.data<float>(), out.nll.data<float>(), nullptr, dx.raw(), train ? weight.gradient().data<float>() : nullptr,
      train && bias != nullptr ? bias->gradient().data<float>() : nullptr, x.value().raw(), weight.compute().raw(),
      bias == nullptr ? nullptr : bias->compute().raw(), targets.data<std::int32_t>(), N, V, C, write, typed, context.launch());
  tape.record({&weight, bias}, [&tape, x, dx] { tape.contribute(x, dx); });
  return out;
}

}  // namespace tradewind::runtime
