// Events that are too many for memory: in files by their users, of which one is in memory at a time.
//
// While a log is read its events, and the names of their users, go to one of `partitions` files by a hash of the name. Then
// each file is put in order by itself, as all of a user is there, and gone over again for each step that leaves events out or
// counts them. Users get their numbers by merging the partitions' names (name_runs.h).
//
// Held in memory are
//   - of items two vocabularies: ids up to four times, as they grow, and at most 150 bytes each;
//   - of users 12 bytes each, and no ids;
//   - what is read at once: 1 MiB of the table, and 65,536 events with their users' ids;
//   - one partition: at most 50 bytes an event, and of its users two vocabularies. All events of a user are in one.
// The order of what comes out does not depend on how many partitions there are.
#pragma once

#include <filesystem>
#include <functional>
#include <memory>
#include <vector>

#include "runtime/data/ordered_events.h"

namespace tradewind::runtime {

class EventsOnDisk final : public EventPartitions, public EventTaker {
 public:
  /// In `folder`, which is there and is of nobody else. `between` is called before each partition that is gone over, and may
  /// throw, which ends the work. Throws DataError where files cannot be written.
  EventsOnDisk(
      std::filesystem::path folder, int partitions, std::function<void()> between = [] {});
  ~EventsOnDisk() override;
  EventsOnDisk(const EventsOnDisk&) = delete;
  EventsOnDisk& operator=(const EventsOnDisk&) = delete;

  void take(const EventArrays& events, const Vocabulary& users, int unit) override;
  /// Once all is taken and before what follows: puts the partitions in order. `unit`: TimeColumn's, at the end of the log.
  void order(int unit);
  std::int32_t users() const override { return users_; }
  /// Of users that no model knows yet.
  NumberedUsers number_users(std::span<const std::int64_t> counts, ColumnSpace& space) override;
  void each(Access access, const std::function<void(OrderedEvents&)>& visit) override;
  /// The most events that a partition had.
  std::int64_t largest() const { return largest_; }

 private:
  class File;
  struct Block;
  std::filesystem::path folder_;
  std::function<void()> between_;
  std::vector<std::unique_ptr<File>> files_;
  std::vector<Block> blocks_;  // what is taken, by partition
  std::int32_t users_ = 0;
  std::int64_t largest_ = 0;
};

}  // namespace tradewind::runtime
