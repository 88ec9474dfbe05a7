// The gradient of a table of which a step used few rows: which rows, and what they get.
//
// Every op and micro-batch that uses the table adds a piece, its distinct rows ascending. Pieces are merged into one: what
// equal rows get is added up in the order of the pieces, so the bits do not depend on threads. Ranks exchange theirs and merge
// them in the order of ranks: all have the same bits. Costs memory and time by the rows that were used, and not by those there
// are.
#pragma once

#include <cstdint>
#include <vector>

#include "runtime/core/context.h"
#include "runtime/core/tensor.h"

namespace tradewind::runtime {

class Communicator;

class SparseGradient {
 public:
  /// Of a table [rows, channels].
  SparseGradient(std::int64_t rows, std::int64_t channels) : table_rows_(rows), channels_(channels) {}

  /// The first `count` of rows [at least count] int32, distinct and ascending, and of values [at least count, channels]
  /// float32, both where the context computes. The caller gives them up. Where more rows have gathered than the table has, they
  /// are merged.
  void add(Context& context, const Tensor& rows, const Tensor& values, std::int64_t count);
  void clear() { pieces_.clear(); }

  /// One piece is left at most.
  void merge(Context& context);
  /// Collective, on a CPU: the sum of all ranks' gradients, merged. A rank may have none.
  void exchange(Context& context, Communicator& communicator);

  /// Of what is merged. Rows and values are undefined where there are none.
  std::int64_t count() const;
  Tensor rows() const;    // [count] int32, ascending
  Tensor values() const;  // [count, channels] float32

 private:
  struct Piece {
    Tensor rows, values;
    std::int64_t count = 0;
  };
  Piece room(Context& context, std::int64_t rows) const;
  void copy(Context& context, const Piece& to, std::int64_t at, const Piece& from) const;
  void take_sums(Context& context, const Piece& terms);
  const Piece& merged() const;

  std::int64_t table_rows_, channels_;
  std::vector<Piece> pieces_;
};

}  // namespace tradewind::runtime
