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
          "Drawn for each position, from what the user has not had; all losses but softmax.", {.min = 1});
  f.field("shared_negatives", shared_negatives, "One set of negatives for all positions of a micro-batch, from all items.");
  f.field("calibration", calibration, "gBCE's t: 0 as bce, 1 probabilities of a full softmax.", {.min = 0, .max = 1});
}

NegativeSampling ItemLoss::negatives() const {
  return {.count = kind == "softmax" ? 0 : negatives_per_position, .shared = shared_negatives};
}

RowLosses ItemLoss::operator()(Tape& tape, const Variable& x, Parameter& table, Parameter* bias, const Batch& batch,
                               std::int64_t items) const {
  const bool some = batch.fields.contains("trained");
  const Variable rows = some ? select_rows(tape, x, batch["trained"]) : x;
  const Tensor& targets = batch[some ? "trained_targets" : "targets"];
  if (kind == "softmax") return linear_cross_entropy(tape, rows, table, bias, targets, {}, items);
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
  return candidate_loss(tape, rows, table, bias,
                        {.targets = targets, .negatives = batch["negatives"], .log_q = {}, .identity = {}}, options);
}

}  // namespace tradewind::models
