// softmax: the cross-entropy over the whole catalogue (Klenitskiy & Vasilev 2023), of which no logits are kept. The others look
// at drawn negatives beside the target (kernels/candidate_loss.h).
#include "models/recommend/item_loss.h"

#include "runtime/ops/candidate_loss.h"
#include "runtime/ops/linear_cross_entropy.h"
#include "runtime/ops/rows.h"

namespace tradewind::models {

using namespace runtime;  // NOLINT: as models are written

void ItemLoss::describe(Fields& f) {
  f.field(
      "loss", kind,
      "softmax: over the whole catalogue. The others look at drawn items beside the target: bce (SASRec), gbce (gSASRec), bpr, "
      "sampled_softmax.",
      {"softmax", "bce", "gbce", "bpr", "sampled_softmax"});
  f.field("negatives", negatives_per_position,
          "Drawn for each position, from what the user has not had; all losses but softmax. Not looked at where "
          "negative_sampling is in_batch.",
          {.min = 1});
  f.field("shared_negatives", shared_negatives,
          "One set of negatives for all positions of a micro-batch, from all items; train.micro_batch and the number of ranks "
          "change it.");
  f.field(
      "negative_sampling", sampling,
      "uniform: every item alike. popularity: by training events to the power of popularity_exponent. in_batch: the targets of "
      "all rows of the micro-batch, which train.micro_batch and the number of ranks change; work and memory are those of a "
      "catalogue of as many items.",
      {"uniform", "popularity", "in_batch"});
  f.field("popularity_exponent", popularity_exponent,
          "Of negative_sampling = \"popularity\": 0 draws all items with events alike.", {.min = 0, .max = 4});
  f.field(
      "correct_sampling", correct_sampling,
      "sampled_softmax: scores less the logarithm of the item's probability of being drawn (logQ), so that popular items are "
      "not held down for being drawn often.");
  f.field("calibration", calibration, "gBCE's t: 0 as bce, 1 probabilities of a full softmax.", {.min = 0, .max = 1});
}

NegativeSampling ItemLoss::negatives() const {
  return {.count = kind == "softmax" ? 0 : negatives_per_position,
          .shared = shared_negatives,
          .kind = sampling == "popularity" ? NegativeKind::kPopularity
                  : sampling == "in_batch" ? NegativeKind::kInBatch
                                           : NegativeKind::kUniform,
          .exponent = popularity_exponent,
          .log_q = kind == "sampled_softmax" && correct_sampling};
}

void ItemLoss::add_cost(CostEstimate& cost, std::int64_t items, std::int64_t channels) const {
  const double score = 2 * static_cast<double>(channels);
  if (kind == "softmax") {
    cost.flops_per_target += score * static_cast<double>(items);
    cost.softmax = {.classes = items, .channels = channels};
    return;
  }
  const NegativeSampling drawn = negatives();
  cost.flops_per_target += score;
  cost.flops_per_negative += score;
  cost.candidates = {.rows = items,
                     .channels = channels,
                     .negatives = negatives_per_position,
                     .shared = !drawn.by_position(),
                     .in_batch = drawn.in_batch()};
}

kernels::CandidateLossOptions ItemLoss::options() const {
  using kernels::CandidateLossKind;
  using kernels::CandidateMean;
  kernels::CandidateLossOptions options;
  options.kind = kind == "bce"    ? CandidateLossKind::kBce
                 : kind == "gbce" ? CandidateLossKind::kGbce
                 : kind == "bpr"  ? CandidateLossKind::kBpr
                                  : CandidateLossKind::kSoftmax;
  // As the papers' code: SASRec adds its one negative, gSASRec takes the mean over all logits.
  options.mean = kind == "gbce" ? CandidateMean::kCandidates : kind == "bpr" ? CandidateMean::kNegatives : CandidateMean::kSum;
  options.calibration = static_cast<float>(calibration);
  options.remove_hits = true;
  return options;
}

RowLosses ItemLoss::operator()(Tape& tape, const Variable& x, Parameter& table, Parameter* bias, const Batch& batch,
                               std::int64_t items) const {
  const bool some = batch.fields.contains("trained");
  const Variable rows = some ? select_rows(tape, x, batch["trained"]) : x;
  const Tensor& targets = batch[some ? "trained_targets" : "targets"];
  if (kind == "softmax") return linear_cross_entropy(tape, rows, table, bias, targets, {}, items);
  const auto log_q = batch.fields.find("log_q");
  auto scored = options();
  scored.items = items;
  return candidate_loss(tape, rows, table, bias,
                        {.targets = targets,
                         .negatives = batch["negatives"],
                         .log_q = log_q == batch.fields.end() ? Tensor() : log_q->second,
                         .identity = {}},
                        scored);
}

}  // namespace tradewind::models
