// Items that a user did not choose, for losses that look at a few items beside the target. What is drawn how:
// negative_sampling.h.
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include "kernels/base/philox.h"
#include "runtime/core/tensor.h"
#include "runtime/data/alias_table.h"
#include "runtime/data/interactions.h"
#include "runtime/data/negative_sampling.h"

namespace tradewind::runtime {

class NegativeSampler {
 public:
  /// `users`: those that samples are of. `masks`: rows behind the items', which are never drawn but have a place in log_q.
  /// `targets`: with in_batch and log_q, how often each item is a target in an epoch. Throws DataError where one of the users
  /// has had every item and negatives are by position.
  NegativeSampler(std::shared_ptr<const Interactions> interactions, std::span<const std::int32_t> users,
                  const NegativeSampling& sampling, std::uint64_t seed, std::span<const std::int64_t> targets = {},
                  std::int64_t masks = 0);

  const NegativeSampling& sampling() const { return sampling_; }
  /// Needs by_position(): `to.size()` items for a position of a sample of the user.
  void draw(std::span<std::int32_t> to, std::int32_t user, std::uint64_t sample, std::int64_t position) const;
  /// The set of a micro-batch whose first sample is this.
  void draw_set(std::span<std::int32_t> to, std::uint64_t sample) const;
  /// [items and masks] float32; undefined where sampling() asks for no such field.
  const Tensor& log_q() const { return log_q_; }

 private:
  std::int32_t drawn(std::uint64_t sample, std::int64_t position, std::int64_t column, std::uint32_t attempt) const;
  void collect_had(std::span<const std::int32_t> users);
  std::span<const std::int32_t> had(std::int32_t user) const;

  std::shared_ptr<const Interactions> interactions_;
  NegativeSampling sampling_;
  kernels::PhiloxKey key_;
  AliasTable popularity_;
  Tensor log_q_;
  std::vector<std::int64_t> had_offsets_;  // by position: [users + 1]
  std::vector<std::int32_t> had_;          // a user's training items, ascending, each once
};

}  // namespace tradewind::runtime
