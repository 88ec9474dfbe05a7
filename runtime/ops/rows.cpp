#include "runtime/ops/rows.h"

#include "kernels/convert.h"
#include "kernels/embedding.h"

namespace tradewind::runtime {

using kernels::Write;

Variable select_rows(Tape& tape, const Variable& x, const Tensor& rows) {
  const std::int64_t N = x.size(0), C = x.size(1), M = rows.elements();
  const DType dtype = x.value().dtype();
  Variable y = tape.variable(tape.context().tensor({M, C}, dtype), {&x});
  kernels::embedding_forward(y.value().raw(), x.value().raw(), rows.data<std::int32_t>(), M, N, C, Write::kAssign, dtype,
                             tape.context().launch());
  if (!y.needs_gradient()) return y;
  tape.record({}, [&tape, x, rows, y, N, C, M, dtype] {
    const Tensor dy = y.take_gradient();
    if (!dy.defined()) return;
    Context& context = tape.context();
    const Tensor wide = context.tensor({N, C});  // zero where no row points
    kernels::embedding_backward_dense(wide.data<float>(), dy.raw(), rows.data<std::int32_t>(), M, N, C, Write::kAssign, dtype,
                                      context.launch());
    Tensor dx = wide;
    if (dtype != DType::kFloat32) {
      dx = context.tensor({N, C}, dtype);
      kernels::convert(dx.raw(), dtype, wide.raw(), DType::kFloat32, N * C, context.launch());
    }
    tape.contribute(x, dx);
  });
  return y;
}

}  // namespace tradewind::runtime
