// Users' histories as samples of sequence models: what comes next after every item of a history, and what comes after all of
// it.
//
// Training: a sample is a user; of its training events the last context + 1, the first `context` of them as input and each
// one's successor as its target (Kang & McAuley 2018, section III-A, without padding: rows are packed).
// Position 0 is the oldest item in the window.
//
// Negatives, where a loss wants some, are drawn uniformly: for each position from the items that the user has not had in
// training, or one set for all rows of a batch from all items. Draws are keyed by the running sample and the position (a shared
// set: by its batch's first sample), so the former depend neither on ranks nor on micro-batches.
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include "runtime/core/allocator.h"
#include "runtime/data/batch.h"
#include "runtime/data/interactions.h"

namespace tradewind::runtime {

struct SequenceOptions {
  std::int64_t context = 1;
  std::int64_t negatives = 0;  // for each position, or of the set
  bool shared_negatives = false;
  std::uint64_t seed = 1;  // of the negatives
};

/// The fields that batch.h lists, for packed rows of items, and where there are any "negatives", int32 [rows, n] or [n].
class SequenceDataset final : public Dataset {
 public:
  /// Users with fewer than two training events give no sample. Throws DataError where none gives one, or where a user has had
  /// every item, so that there is no negative.
  SequenceDataset(std::shared_ptr<const Interactions> interactions, const SequenceOptions& options,
                  Allocator& allocator = host_allocator());

  std::int64_t samples_per_epoch() const override { return static_cast<std::int64_t>(users_.size()); }
  /// "samples" is the running sample index, "slots" the position. Every target counts.
  Batch collate(std::span<const SampleRef> samples) const override;
  std::uint64_t checksum() const override { return interactions_->checksum; }

 private:
  Tensor draw(std::span<const SampleRef> samples, const Batch& batch) const;

  std::shared_ptr<const Interactions> interactions_;
  SequenceOptions options_;
  Allocator& allocator_;
  std::vector<std::int32_t> users_;
};

/// For ranking: every user that has events in `part`; what it had before (in parts before that one), and what came.
class HeldOut {
 public:
  HeldOut(std::shared_ptr<const Interactions> interactions, Part part, std::int64_t context,
          Allocator& allocator = host_allocator());

  std::int64_t size() const { return static_cast<std::int64_t>(users_.size()); }
  std::int32_t user(std::int64_t i) const { return users_[static_cast<std::size_t>(i)]; }
  Part part() const { return part_; }
  const Interactions& interactions() const { return *interactions_; }

  /// Items lists of users, one behind the other.
  struct Lists {
    std::vector<std::int64_t> offsets{0};
    std::vector<std::int32_t> items;
    std::span<const std::int32_t> of(std::int64_t i) const {
      const auto at = static_cast<std::size_t>(i);
      return std::span(items).subspan(static_cast<std::size_t>(offsets[at]),
                                      static_cast<std::size_t>(offsets[at + 1] - offsets[at]));
    }
  };
  struct Queries {
    Batch batch;    // the last `context` items of each history; a user without one has a sequence of length 0
    Lists seen;     // all of each history, ascending, each item once
    Lists targets;  // the events in `part`, in time order, each item once
  };
  /// Users [begin, end) of size().
  Queries collate(std::int64_t begin, std::int64_t end) const;

 private:
  std::shared_ptr<const Interactions> interactions_;
  Part part_;
  std::int64_t context_;
  Allocator& allocator_;
  std::vector<std::int32_t> users_;
};

/// Histories as they are, for serving: the last `context` items of each, packed. "samples" counts from 0.
Batch pack_histories(std::span<const std::vector<std::int32_t>> histories, std::int64_t context,
                     Allocator& allocator = host_allocator());

}  // namespace tradewind::runtime
