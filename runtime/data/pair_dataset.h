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
#include "runtime/data/negatives.h"

namespace tradewind::runtime {

struct PairOptions {
  std::int64_t negatives = 1;
  std::uint64_t seed = 1;  // of the negatives
};

/// Of a batch of S samples:
///   "users"     [S] int32
///   "targets"   [S] int32     the item of the event
///   "negatives" [S, n] int32  as NegativeSampler draws them for position 0
class PairDataset final : public Dataset {
 public:
  /// Throws DataError where a user has had every item, so that there is no negative.
  PairDataset(std::shared_ptr<const Interactions> interactions, const PairOptions& options,
              Allocator& allocator = host_allocator());

  std::int64_t samples_per_epoch() const override { return static_cast<std::int64_t>(events_.size()); }
  Batch collate(std::span<const SampleRef> samples) const override;
  std::uint64_t checksum() const override { return interactions_->checksum; }

 private:
  std::shared_ptr<const Interactions> interactions_;
  Allocator& allocator_;
  NegativeSampler negatives_;
  struct Event {
    std::int32_t user, item;
  };
  std::vector<Event> events_;
};

}  // namespace tradewind::runtime
