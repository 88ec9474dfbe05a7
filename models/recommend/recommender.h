// What ranking needs of a recommender: a vector a history, a vector an item; their products are the scores.
#pragma once

#include <algorithm>
#include <cstdint>
#include <span>

#include "kernels/catalogue.h"
#include "runtime/core/transfer.h"
#include "runtime/train/task.h"

namespace tradewind::models {

class Recommender : public runtime::Task {
 public:
  virtual std::int64_t items() const = 0;
  /// [S, C], one row a sequence of the batch, in evaluation mode, in the type of item_vectors(). A sequence of length 0 has a
  /// row of zeros, so that it is told nothing apart. Reads the batch's fields but "targets".
  virtual runtime::Tensor queries(runtime::Context& context, const runtime::Batch& batch) = 0;
  /// [V, C], what the scores are products with.
  virtual runtime::Tensor item_vectors(runtime::Context& context) = 0;
  /// [V] float32 to be added to the scores; undefined where there is none.
  virtual runtime::Tensor item_bias() { return {}; }
};

/// The last row of each sequence of x [N, C]: [S, C]; zeros where a sequence has none.
runtime::Tensor last_rows(runtime::Context& context, const runtime::Tensor& x, const runtime::Batch& batch);

/// Values of the host where the context computes.
template <class T>
runtime::Tensor on_device_of(runtime::Context& context, std::span<const T> values) {
  const runtime::Tensor host(runtime::host_allocator(), {static_cast<std::int64_t>(values.size())}, kernels::dtype_of<T>);
  std::copy(values.begin(), values.end(), host.data<T>());
  return runtime::on_device(context, host);
}

/// The scores' two sides as kernels/catalogue.h takes them.
kernels::Catalogue catalogue_of(const runtime::Tensor& queries, const runtime::Tensor& items, const runtime::Tensor& bias);

}  // namespace tradewind::models
