#include "runtime/ops/recurrent.h"

#include <algorithm>
#include <memory>

#include "kernels/linear.h"
#include "runtime/core/transfer.h"
#include "runtime/ops/linear.h"

namespace tradewind::runtime {
namespace {

using kernels::Write;

/// The order of the rows on the host, and its table where the context computes.
struct OrderedRows {
  explicit OrderedRows(Context& context, const Tensor& offsets)
      : order(kernels::recurrent_order(offsets.span<std::int64_t>())) {
    if (order.table.empty()) return;
    const Tensor host(host_allocator(), {static_cast<std::int64_t>(order.table.size())}, DType::kInt64);
    std::ranges::copy(order.table, host.data<std::int64_t>());
    table = on_device(context, host);
  }
  kernels::RecurrentOrder order;
  Tensor table;
};

void require_shapes(const Variable& x, const RecurrentParameters& p, const OrderedRows& rows) {
  const std::int64_t H = p.hidden_weight->shape()[1], rest = kernels::recurrent_gates(p.kind) * H;
  require(x.size(0) == rows.order.N, "recurrent", "x has not the rows of the sequences");
  require(p.input_weight->shape() == Shape({rest, x.size(1)}) && p.hidden_weight->shape() == Shape({rest, H}) &&
              p.input_bias->shape() == Shape({rest}) && p.hidden_bias->shape() == Shape({rest}),
          "recurrent", "weights and biases are not those of the kind, for x of this width");
}

}  // namespace

Variable recurrent(Tape& tape, const Variable& x, const RecurrentParameters& p, const Sequences& sequences) {
  Context& context = tape.context();
  const auto rows = std::make_shared<const OrderedRows>(context, sequences.host_offsets);
  require_shapes(x, p, *rows);
  const std::int64_t N = rows->order.N, H = p.hidden_weight->shape()[1];
  const bool lstm = p.kind == kernels::RecurrentKind::kLstm;
  const DType dtype = x.value().dtype();
  const kernels::LinearShape inputs{.M = N, .N = kernels::recurrent_gates(p.kind) * H, .K = x.size(1), .ldy = 4 * H};
  const kernels::RecurrentShape shape{.kind = p.kind,
                                      .H = H,
                                      .order = &rows->order,
                                      .table = rows->table.defined() ? rows->table.data<std::int64_t>() : nullptr,
                                      .dtype = dtype};
  const Tensor gates = context.tensor({N, 4 * H}, dtype), cell = lstm ? context.tensor({N, H}) : Tensor();
  Variable h = tape.variable(context.tensor({N, H}, dtype));
  kernels::linear_forward(gates.raw(), nullptr, x.value().raw(), p.input_weight->compute().raw(), p.input_bias->compute().raw(),
                          inputs, {.dtype = dtype}, context.launch());
  kernels::recurrent_forward(h.value().raw(), lstm ? cell.data<float>() : nullptr, gates.raw(),
                             p.hidden_weight->compute().raw(), p.hidden_bias->compute().raw(), {}, shape, context.launch());
  tape.record({p.input_weight, p.input_bias, p.hidden_weight, p.hidden_bias}, [&tape, x, p, rows, gates, cell, h, inputs, shape,
                                                                               dtype] {
    const Tensor dh = h.take_gradient();
    if (!dh.defined()) return;
    const auto launch = tape.context().launch();
    Write write = touch_together(*p.hidden_weight, p.hidden_bias);
    kernels::recurrent_backward(
        {.dw = p.hidden_weight->gradient().data<float>(), .db = p.hidden_bias->gradient().data<float>()}, gates.raw(),
        {.h = h.value().raw(), .dh = dh.raw(), .cell = cell.defined() ? cell.data<float>() : nullptr},
        p.hidden_weight->compute().raw(), {}, shape, write, launch);
    write = touch_together(*p.input_weight, p.input_bias);
    kernels::linear_backward_weight(p.input_weight->gradient().data<float>(), p.input_bias->gradient().data<float>(),
                                    gates.raw(), x.value().raw(), inputs, write, {.dtype = dtype}, launch);
    if (!x.needs_gradient()) return;
    const auto [dx, write_dx] = tape.gradient_of(x);
    kernels::linear_backward_input(dx.raw(), gates.raw(), p.input_weight->compute().raw(), inputs, write_dx, {.dtype = dtype},
                                   launch);
  });
  return h;
}

}  // namespace tradewind::runtime
