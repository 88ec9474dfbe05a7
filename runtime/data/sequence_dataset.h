// Users' histories as samples of sequence models: what comes next after every item of a history, and what comes after all of
// it.
//
// Training: a sample is a user or, with prefixes, one of its events; of the training events up to there as many as the context
// takes, the newest, and of their positions all, the last or hidden ones are asked for (sequence_targets.h). Rows are packed
// without padding; position 0 is the oldest item in the window or, where positions count from the newest, the newest.
//
// Negatives, where a loss wants some: negative_sampling.h.
//
// Times, where a model reads them, are whole seconds since 1970 in UTC: "times", int64 [rows], of each row's event, and
// "request_times", int64 [rows], when what comes next is asked for: the time of the event that follows. The latter is the
// target's own: only a model whose application knows it when it asks may read it.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <span>
#include <vector>

#include "runtime/core/allocator.h"
#include "runtime/data/batch.h"
#include "runtime/data/interactions.h"
#include "runtime/data/negatives.h"
#include "runtime/data/sequence_targets.h"

namespace tradewind::runtime {

struct SequenceOptions {
  std::int64_t context = 1;
  NegativeSampling negatives{};
  std::uint64_t seed = 1;  // of the negatives and masks
  SequenceTargets targets{};
  bool times = false;
  bool from_newest = false;  // positions
};

/// The fields that batch.h lists, for packed rows of items, "trained" and "trained_targets" where not every row has a target,
/// and where there are any "negatives", int32 [targets, n] or [n] (in_batch: n targets), "log_q", and the times. The
/// mask's id is the number of items.
class SequenceDataset final : public Dataset {
 public:
  /// Users with fewer than two training events give no sample. Throws DataError where none gives one, or where a user has had
  /// every item, so that there is no negative; InternalError for times of interactions that have none.
  SequenceDataset(std::shared_ptr<const Interactions> interactions, const SequenceOptions& options,
                  Allocator& allocator = host_allocator());

  std::int64_t samples_per_epoch() const override { return static_cast<std::int64_t>(samples_.size()); }
  /// "samples" is the running sample index, "slots" the position. Every target counts.
  Batch collate(std::span<const SampleRef> samples) const override;
  std::uint64_t checksum() const override { return interactions_->checksum; }

 private:
  struct Sample {
    std::int32_t user;
    std::int32_t events;  // of its training part, up to the last that the sample is made of
  };
  const Sample& sample(const SampleRef& ref) const { return samples_[static_cast<std::size_t>(ref.index)]; }
  std::vector<Sample> all_samples() const;
  std::vector<std::int32_t> users() const;
  SampleRows rows(const Sample& sample, std::uint64_t running) const;
  /// Of the events of its window.
  std::vector<std::int64_t> times(const Sample& sample) const;
  std::vector<std::int64_t> target_counts() const;
  void add_negatives(Batch& batch, std::span<const SampleRef> samples) const;

  std::shared_ptr<const Interactions> interactions_;
  SequenceOptions options_;
  Allocator& allocator_;
  std::vector<Sample> samples_;
  NegativeSampler negatives_;
};

/// How the history of a query is packed: its last `context` items; or, where there is a mask, one less and the mask, whose
/// place is asked for. An empty history stays empty. Implicit: most models want the items alone.
struct HistoryForm {
  HistoryForm(std::int64_t rows, std::int32_t mask_id = -1, bool with_times = false,  // NOLINT(google-explicit-constructor)
              bool positions_from_newest = false)
      : context(rows), mask(mask_id), times(with_times), from_newest(positions_from_newest) {}
  std::int64_t context;
  std::int32_t mask;  // its id; -1: none
  bool times;         // the batch has them
  bool from_newest;   // position 0 is the last row's
};

/// The items of a user's training events, ascending, each once.
std::vector<std::int32_t> training_items(const Interactions& interactions, std::int32_t user);

/// For ranking: every user that has events in `part`; what it had before (in parts before that one), and what came.
class HeldOut {
 public:
  /// Times: what comes next is asked for at the first target's.
  HeldOut(std::shared_ptr<const Interactions> interactions, Part part, const HistoryForm& form,
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
    Batch batch;    // each history in its form, and "users"; one without a history has a sequence of length 0
    Lists seen;     // all of each history, ascending, each item once
    Lists targets;  // the events in `part`, in time order, each item once; of a bucket, which is several, each event
  };
  /// Users [begin, end) of size().
  Queries collate(std::int64_t begin, std::int64_t end) const;

 private:
  std::shared_ptr<const Interactions> interactions_;
  Part part_;
  HistoryForm form_;
  Allocator& allocator_;
  std::vector<std::int32_t> users_;
};

/// When the events of a history were, and when what comes next is asked for; seconds since 1970.
struct HistoryTimes {
  std::vector<std::int64_t> seconds;
  std::int64_t request = 0;
};

/// The times of a user's events for which `wanted(part)`; `request` is left to the caller.
HistoryTimes times_of(const Interactions& interactions, std::int32_t user, const std::function<bool(Part)>& wanted);

/// Microseconds as whole seconds, rounded down.
std::int64_t seconds_of(std::int64_t microseconds);

/// Histories as they are, for serving, packed. "samples" counts from 0. "users", int32 [S]: the numbers given, -1 for a user
/// that has none; no such field where none are given. `times`: one a history, read where the form has times.
Batch pack_histories(std::span<const std::vector<std::int32_t>> histories, const HistoryForm& form,
                     std::span<const std::int32_t> users = {}, std::span<const HistoryTimes> times = {},
                     Allocator& allocator = host_allocator());

}  // namespace tradewind::runtime
