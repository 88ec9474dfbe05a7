// Forward by kernels/embedding_bag.h, a table at a time. Backward first gives every id its share of its bag's gradient, w_l dy,
// which is a weighted lookup too, and then adds up what equal ids get as for any lookup: so the bits do not depend on threads,
// dense and sparse gradients have the same, and no count has to be waited for.
#include "runtime/ops/embedding_bag.h"

#include <numeric>
#include <vector>

#include "kernels/embedding.h"
#include "kernels/embedding_bag.h"
#include "runtime/core/transfer.h"
#include "runtime/ops/embedding.h"

namespace tradewind::runtime {
namespace {

template <class T>
Tensor counting(Context& context, std::int64_t count) {
  const Tensor host(host_allocator(), {count}, kernels::dtype_of<T>);
  std::iota(host.data<T>(), host.data<T>() + count, T{0});
  return on_device(context, host);
}

/// out[b] = sum over the ids l of bag b of w_l x[ids_l]: bags of one table x [V, C], out [B, C].
void weighted_sums(const Tensor& out, const Tensor& x, const Tensor& ids, const Tensor& offsets, const Tensor& weights,
                   Context& context) {
  const Tensor host(host_allocator(), {2}, DType::kInt64);
  host.data<std::int64_t>()[0] = 0;
  host.data<std::int64_t>()[1] = x.size(0);
  const Tensor rows = on_device(context, host);
  const kernels::BagShape shape{.T = 1,
                                .B = out.size(0),
                                .C = out.size(1),
                                .V = x.size(0),
                                .N = ids.elements(),
                                .row_offsets = rows.data<std::int64_t>(),
                                .bag_offsets = offsets.data<std::int64_t>(),
                                .ids = ids.data<std::int32_t>(),
                                .stride = out.size(1)};
  const kernels::BagOptions options{.weights = weights.data<float>(), .dtype = x.dtype()};
  kernels::embedding_bag_forward(out.raw(), nullptr, x.raw(), shape, options, context.launch());
}

}  // namespace

Variable embedding_with_bags(Tape& tape, Parameter& table, const Tensor& ids, std::span<const Bags> attributes) {
  Variable y = embedding(tape, table, ids);
  Context& context = tape.context();
  const std::int64_t N = ids.elements(), C = table.shape()[1];
  for (const Bags& a : attributes) {
    const std::int64_t L = a.ids.elements();
    require(a.table->shape()[1] == C && a.offsets.elements() == N + 1 && a.bags.elements() == L && a.weights.elements() == L,
            "embedding_with_bags", "tables and bags do not fit");
    if (L == 0) continue;
    const Tensor sums = context.activation({N, C}), each = counting<std::int32_t>(context, N);
    weighted_sums(sums, a.table->compute(), a.ids, a.offsets, a.weights, context);
    kernels::embedding_forward(y.value().raw(), sums.raw(), each.data<std::int32_t>(), N, N, C, kernels::Write::kAccumulate,
                               sums.dtype(), context.launch());
    tape.record({a.table}, [&tape, a, y, L, C] {
      const Tensor& dy = y.gradient();  // the lookup of `ids`, which was recorded first, consumes it
      if (!dy.defined()) return;
      Context& at = tape.context();
      const Tensor shares = at.tensor({L, C}, dy.dtype());
      weighted_sums(shares, dy, a.bags, counting<std::int64_t>(at, L + 1), a.weights, at);
      add_lookup_gradient(tape, *a.table, a.ids, shares);
    });
  }
  return y;
}

}  // namespace tradewind::runtime
