// What a recommender over one table of items is trained on: a row's vector against the item that came next.
#pragma once

#include <cstdint>
#include <string>

#include "kernels/candidate_loss.h"
#include "models/registry.h"
#include "runtime/autograd/tape.h"
#include "runtime/core/row_losses.h"
#include "runtime/data/batch.h"
#include "runtime/train/task.h"

namespace tradewind::models {

/// The keys of a [model] section that choose the loss, and the loss.
struct ItemLoss {
  std::string kind = "softmax";
  std::int64_t negatives_per_position = 1;
  bool shared_negatives = false;
  std::string sampling = "uniform";
  double popularity_exponent = 0.75;
  bool correct_sampling = true;
  double calibration = 0.75;

  void describe(runtime::Fields& f);
  /// What the data set has to draw.
  NegativeSampling negatives() const;
  /// How candidates are scored: of softmax all items are negatives (kernels/candidate_loss.h).
  kernels::CandidateLossOptions options() const;
  /// Adds what it costs to score `items` by vectors of `channels`: FLOPs of a target and a negative, and what a plan asks.
  void add_cost(runtime::CostEstimate& cost, std::int64_t items, std::int64_t channels) const;
  /// x [N, C], table [V, C], bias [V] or null. Reads the batch's "targets" [N] (or "trained" and "trained_targets", and gives
  /// the losses of those rows) and, for all losses but softmax, "negatives", and "log_q" [V] where negatives() asks for it.
  /// items: so many first rows of the table are items; 0: all. A root of the tape.
  runtime::RowLosses operator()(runtime::Tape& tape, const runtime::Variable& x, runtime::Parameter& table,
                                runtime::Parameter* bias, const runtime::Batch& batch, std::int64_t items = 0) const;
};

}  // namespace tradewind::models
