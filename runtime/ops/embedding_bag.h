// Sums of rows of several tables: what something is looked up as that has an id and, beside it, any number of values of each of
// its attributes.
#pragma once

#include <cstdint>
#include <span>

#include "runtime/autograd/tape.h"

namespace tradewind::runtime {

/// N bags of L ids of one table, where the op runs. A bag may be empty.
struct Bags {
  Parameter* table = nullptr;  // [V, C]
  Tensor ids;                  // [L] int32
  Tensor offsets;              // [N + 1] int64: bag n is ids[offsets[n]] to ids[offsets[n + 1] - 1]
  Tensor bags;                 // [L] int32: of each id its n
  Tensor weights;              // [L] float32
};

/// y[n] = table[ids[n]] + sum over the `attributes` a and the ids l of bag n of w_l table_a[id_l]. table [V, C], ids [N] int32,
/// y [N, C]. The tables are C wide; each may have a sparse gradient. Of a table whose bags are all empty nothing is touched.
Variable embedding_with_bags(Tape& tape, Parameter& table, const Tensor& ids, std::span<const Bags> attributes);

}  // namespace tradewind::runtime
