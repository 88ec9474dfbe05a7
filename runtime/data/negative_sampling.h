// How the items beside the target are come by, that a loss looks at which does not take the whole catalogue.
//
//   uniform     every item alike
//   popularity  item i with p(i) ~ count(i)^exponent of its training events (Mikolov et al. 2013: 0.75), none without any
//   in_batch    the targets of the micro-batch's rows, all of them: nothing is drawn, popular items are there more often
//
// Drawn ones are for each position, from the items that the user has not had in training, keyed by running sample, position
// and column: they depend neither on ranks nor on micro-batches. Or one set for all rows of a micro-batch, from all items,
// keyed by its first sample. That set, and in_batch, are the micro-batch's, so train.micro_batch and the number of ranks change
// them.
#pragma once

#include <cstdint>

namespace tradewind::runtime {

enum class NegativeKind : std::uint8_t { kUniform, kPopularity, kInBatch };

/// What a model's loss wants beside the targets.
struct NegativeSampling {
  std::int64_t count = 0;  // for each position, or of the set; 0: none. in_batch: not looked at but for that
  bool shared = false;     // one set for all rows of a micro-batch
  NegativeKind kind = NegativeKind::kUniform;
  double exponent = 0.75;
  /// With each batch the field "log_q", float32 [items]: the logarithm of each item's probability of being drawn, for the
  /// correction of sampled softmax (Bengio & Senecal 2008; Yi et al. 2019). Leaving out what the user has had divides all of a
  /// row's probabilities by the same number, which a softmax does not see. in_batch: of being the target of a row. uniform: no
  /// field, as it is the same for all.
  bool log_q = false;

  bool in_batch() const { return count > 0 && kind == NegativeKind::kInBatch; }
  bool by_position() const { return count > 0 && !shared && kind != NegativeKind::kInBatch; }
};

}  // namespace tradewind::runtime
