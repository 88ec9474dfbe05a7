// What a recommender over one table of items is trained on: a row's vector against the item that came next.
#pragma once

#include <cstdint>
#include <string>

#include "models/registry.h"
#include "runtime/autograd/tape.h"
#include "runtime/core/row_losses.h"
#include "runtime/data/batch.h"

namespace tradewind::models {

/// The keys of a [model] section that choose the loss, and the loss.
struct ItemLoss {
  std::string kind = "softmax";
  std::int64_t negatives_per_position = 1;
  bool shared_negatives = false;
  double calibration = 0.75;

  void describe(runtime::Fields& f);
  /// What the data set has to draw.
  NegativeSampling negatives() const;
  /// x [N, C], table [V, C], bias [V] or null. Reads the batch's "targets" [N] and, for all losses but softmax, "negatives". A
  /// root of the tape.
  runtime::RowLosses operator()(runtime::Tape& tape, const runtime::Variable& x, runtime::Parameter& table,
                                runtime::Parameter* bias, const runtime::Batch& batch) const;
};

}  // namespace tradewind::models
