#include "runtime/parallel/sparse_gradient.h"

#include <algorithm>
#include <numeric>

#include "kernels/embedding.h"
#include "runtime/comm/communicator.h"
#include "runtime/core/transfer.h"

namespace tradewind::runtime {

void SparseGradient::add(Context& context, const Tensor& rows, const Tensor& values, std::int64_t count) {
  require(count <= rows.elements() && count * channels_ <= values.elements(), "SparseGradient::add",
          "fewer rows than were announced");
  if (count == 0) return;
  pieces_.push_back({rows, values, count});
  const auto gathered = std::accumulate(pieces_.begin(), pieces_.end(), std::int64_t{0},
                                        [](std::int64_t n, const Piece& p) { return n + p.count; });
  if (gathered > table_rows_) merge(context);
}

SparseGradient::Piece SparseGradient::room(Context& context, std::int64_t rows) const {
  return {context.tensor({rows}, DType::kInt32, Purpose::kGradients),
          context.tensor({rows, channels_}, DType::kFloat32, Purpose::kGradients), rows};
}

/// To rows [at, at + from.count) of `to`.
void SparseGradient::copy(Context& context, const Piece& to, std::int64_t at, const Piece& from) const {
  const auto carry = [&](const Tensor& into, const Tensor& of, std::int64_t width) {
    const std::size_t bytes = static_cast<std::size_t>(from.count * width) * kernels::size_of(of.dtype());
    copy_rows(into.at(at * width), bytes, of.raw(), bytes, bytes, 1, context);
  };
  carry(to.rows, from.rows, 1);
  carry(to.values, from.values, channels_);
}

/// The only piece: the distinct rows of `terms`, and for each the sum of its terms in their order. That is the gradient of
/// looking the rows up.
void SparseGradient::take_sums(Context& context, const Piece& terms) {
  Piece sums = room(context, std::min(terms.count, table_rows_));
  sums.count = kernels::embedding_backward_sparse(sums.rows.data<std::int32_t>(), sums.values.data<float>(), terms.values.raw(),
                                                  terms.rows.data<std::int32_t>(), terms.count, table_rows_, channels_,
                                                  DType::kFloat32, context.launch());
  pieces_.assign(1, sums);
}

void SparseGradient::merge(Context& context) {
  if (pieces_.size() < 2) return;
  std::int64_t count = 0;
  for (const Piece& piece : pieces_) count += piece.count;
  const Piece terms = room(context, count);
  std::int64_t at = 0;
  for (const Piece& piece : pieces_) {
    copy(context, terms, at, piece);
    at += piece.count;
  }
  pieces_.clear();  // their memory goes back before the sums take theirs
  take_sums(context, terms);
}

void SparseGradient::exchange(Context& context, Communicator& communicator) {
  merge(context);
  const auto size = static_cast<std::size_t>(communicator.size());
  if (size == 1) return;
  require(context.device().type == DeviceType::kCpu, "SparseGradient::exchange", "several ranks train on CPUs");
  const std::int64_t own = count();
  std::vector<std::int64_t> counts(size);
  communicator.all_gather(counts.data(), &own, 1, DType::kInt64, nullptr);
  const std::int64_t total = std::accumulate(counts.begin(), counts.end(), std::int64_t{0});
  if (total == 0) return;
  const Piece terms = room(context, total);
  if (own > 0)
    copy(context, terms, std::accumulate(counts.begin(), counts.begin() + communicator.rank(), std::int64_t{0}), merged());
  communicator.all_gather_v(terms.rows.raw(), counts.data(), DType::kInt32, nullptr);
  for (std::int64_t& n : counts) n *= channels_;
  communicator.all_gather_v(terms.values.raw(), counts.data(), DType::kFloat32, nullptr);
  take_sums(context, terms);
}

const SparseGradient::Piece& SparseGradient::merged() const {
  require(pieces_.size() == 1, "SparseGradient", "its pieces are not merged");
  return pieces_.front();
}

std::int64_t SparseGradient::count() const { return pieces_.empty() ? 0 : merged().count; }

Tensor SparseGradient::rows() const { return pieces_.empty() ? Tensor() : merged().rows.view(0, {merged().count}); }

Tensor SparseGradient::values() const {
  return pieces_.empty() ? Tensor() : merged().values.view(0, {merged().count, channels_});
}

}  // namespace tradewind::runtime
