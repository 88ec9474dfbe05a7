// Single events as samples of models that know users by their number: who had what.
//
// Training: a sample is an event of the training part, a user and an item, with items that the user has not had in training
// beside it (Rendle et al., UAI 2009, section 4: the triples (u, i, j) of D_S). An item that a user had twice is two samples.
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include "runtime/core/allocator.h"
#include "runtime/data/batch.h"
#include "runtime/data/interactions.h"

namespace tradewind::runtime {

struct PairOptions {
  std::int64_t negatives = 1;
  std::uint64_t seed = 1;  // of the negatives
};

/// Of a batch of S samples:
///   "users"     [S] int32
///   "targets"   [S] int32     the item of the event
///   "negatives" [S, n] int32  items that the user has not had in training, uniformly; keyed by the running sample, so that
///   they
///                             depend neither on ranks nor on micro-batches
class PairDataset final : public Dataset {
 public:
  /// Throws DataError where a user has had every item, so that there is no negative.
  PairDataset(std::shared_ptr<const Interactions> interactions, const PairOptions& options,
              Allocator& allocator = host_allocator());

  std::int64_t samples_per_epoch() const override { return static_cast<std::int64_t>(events_.size()); }
  Batch collate(std::span<const SampleRef> samples) const override;
  std::uint64_t checksum() const override { return interactions_->checksum; }

 private:
  std::span<const std::int32_t> had(std::int32_t user) const;
  std::int32_t draw(std::int32_t user, std::uint64_t sample, std::int64_t column) const;

  std::shared_ptr<const Interactions> interactions_;
  PairOptions options_;
  Allocator& allocator_;
  struct Event {
    std::int32_t user, item;
  };
  std::vector<Event> events_;
  std::vector<std::int64_t> had_offsets_{0};  // [users + 1]
  std::vector<std::int32_t> had_;             // a user's training items, ascending, each once
};

}  // namespace tradewind::runtime
