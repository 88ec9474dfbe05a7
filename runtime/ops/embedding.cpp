#include "runtime/ops/embedding.h"

#include <algorithm>

#include "kernels/embedding.h"

namespace tradewind::runtime {
namespace {

using kernels::Write;

void look_up(const Tape& tape, const Tensor& y, const Parameter& table, const Tensor& ids, Write write, float scale = 1.0F) {
  kernels::embedding_forward(y.raw(), table.compute().raw(), ids.data<std::int32_t>(), ids.elements(), table.shape()[0],
                             table.shape()[1], write, {y.dtype(), scale}, tape.context().launch());
}

}  // namespace

void add_lookup_gradient(const Tape& tape, Parameter& table, const Tensor& ids, const Tensor& dy, float scale) {
  if (table.sparse()) {
    Context& context = tape.context();
    const std::int64_t N = ids.elements(), V = table.shape()[0], C = table.shape()[1], most = std::min(N, V);
    const Tensor rows = context.tensor({most}, DType::kInt32, Purpose::kGradients);
    const Tensor values = context.tensor({most, C}, DType::kFloat32, Purpose::kGradients);
    const std::int64_t count =
        kernels::embedding_backward_sparse(rows.data<std::int32_t>(), values.data<float>(), dy.raw(), ids.data<std::int32_t>(),
                                           N, V, C, {dy.dtype(), scale}, context.launch());
    table.add_rows(context, rows, values, count);
    return;
  }
  kernels::embedding_backward_dense(table.gradient().data<float>(), dy.raw(), ids.data<std::int32_t>(), ids.elements(),
                                    table.shape()[0], table.shape()[1], table.touch(), {dy.dtype(), scale},
                                    tape.context().launch());
}

Variable embedding(Tape& tape, Parameter& table, const Tensor& ids) {
  Variable y = tape.variable(tape.context().activation({ids.elements(), table.shape()[1]}));
  look_up(tape, y.value(), table, ids, Write::kAssign);
  tape.record({&table}, [&tape, &table, ids, y] {
    if (const Tensor dy = y.take_gradient(); dy.defined()) add_lookup_gradient(tape, table, ids, dy);
  });
  return y;
}

Variable embedding_sum(Tape& tape, Parameter& table, const Tensor& ids, Parameter& positions, const Tensor& position,
                       float scale) {
  Variable y = tape.variable(tape.context().activation({ids.elements(), table.shape()[1]}));
  look_up(tape, y.value(), table, ids, Write::kAssign, scale);
  look_up(tape, y.value(), positions, position, Write::kAccumulate);
  tape.record({&table, &positions}, [&tape, &table, ids, &positions, position, y, scale] {
    const Tensor dy = y.take_gradient();
    if (!dy.defined()) return;
    add_lookup_gradient(tape, table, ids, dy, scale);
    add_lookup_gradient(tape, positions, position, dy);
  });
  return y;
}

}  // namespace tradewind::runtime
