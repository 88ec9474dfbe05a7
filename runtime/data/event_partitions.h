// Events that are too many for memory: in files by their users, of which one is in memory at a time.
//
// While a log is read its events go to one of `partitions` files by a hash of their user. Then each file is put in order by
// itself, as all of a user is there, and gone over again for each step that leaves events out or counts them. Held are the
// vocabularies, a number or two for each user and item, what is read at once (1 MiB) and one partition, with at most 50 bytes
// an event; a partition has the events of one user at the least. The order of what comes out does not depend on how many
// partitions there are.
#pragma once

#include <filesystem>
#include <functional>
#include <memory>
#include <vector>

#include "runtime/data/ordered_events.h"

namespace tradewind::runtime {

class EventsOnDisk final : public EventPartitions, public EventTaker {
 public:
  /// In `folder`, which is there and is of nobody else. Throws DataError where files cannot be written.
  EventsOnDisk(std::filesystem::path folder, int partitions);
  ~EventsOnDisk() override;
  EventsOnDisk(const EventsOnDisk&) = delete;
  EventsOnDisk& operator=(const EventsOnDisk&) = delete;

  void take(const EventArrays& events, int unit) override;
  /// Once all is taken and before each(): puts the partitions in order.
  void order(const EventLog& log);
  void each(Access access, const std::function<void(OrderedEvents&)>& visit) override;
  /// The most events that a partition had.
  std::int64_t largest() const { return largest_; }

 private:
  class File;
  std::filesystem::path folder_;
  std::vector<std::unique_ptr<File>> files_;
  std::vector<EventArrays> sorted_;  // what is taken, by partition
  std::int64_t largest_ = 0;
};

}  // namespace tradewind::runtime
