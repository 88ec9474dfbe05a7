// From a log to the events of a recommender: each user's events in order, and what is left out of them.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "runtime/data/event_log.h"

namespace tradewind::runtime {

/// Events by user.
struct OrderedEvents {
  std::vector<std::int32_t> user;     // [users], ascending; numbers are those of EventPartitions
  std::vector<std::int64_t> offsets;  // [users + 1]
  std::vector<std::int32_t> item;     // [events], a user's in order of time, those of one time as in the files
  std::vector<std::int64_t> time;     // [events], or empty as in the log; so the next two
  std::vector<Part> source;
  std::vector<std::int64_t> line;

  std::int64_t users() const { return static_cast<std::int64_t>(user.size()); }
  std::int64_t events() const { return static_cast<std::int64_t>(item.size()); }
  /// Leaves out the events for which `keeps(i, event)` is false, user[i] its user; it is asked in order. Returns how many went.
  std::int64_t keep(const std::function<bool(std::int64_t i, std::int64_t event)>& keeps);
};

/// Of those users that have events; `users`: how many numbers there are. Empties the arrays as it goes, so that they are not
/// held twice.
OrderedEvents order_events(EventArrays& events, std::int32_t users);

/// The names of `names` whose count is above 0, the most frequent first, or where there is an existing vocabulary, that with
/// what is new in them behind it.
std::shared_ptr<const Vocabulary> numbered(const Vocabulary& names, std::span<const std::int64_t> counts,
                                           const Vocabulary* existing);

/// Users as a model numbers them.
struct NumberedUsers {
  std::shared_ptr<const Vocabulary> names;
  std::vector<std::int32_t> number_of;  // of each user of EventPartitions; -1: none
  std::int32_t unknown = 0;             // of `names`, those that are new to the model; 0 where there is none
};

/// The events of a log, all of a user in one partition: one that is in memory, or many, of which one is at a time. Users have
/// numbers 0 .. users() - 1, in no order that means anything.
class EventPartitions {
 public:
  virtual ~EventPartitions() = default;
  virtual std::int32_t users() const = 0;
  /// As numbered() does it. `counts`: how many events each user has left; columns are made in `space`.
  virtual NumberedUsers number_users(std::span<const std::int64_t> counts, ColumnSpace& space) = 0;
  enum class Access : std::uint8_t { kRead, kChange };
  /// `visit` gets one partition after the other, and with kChange what it makes of it stays.
  virtual void each(Access access, const std::function<void(OrderedEvents&)>& visit) = 0;
  std::int64_t events();
};

class EventsInMemory final : public EventPartitions {
 public:
  /// Keeps `log`, of which it takes the events, and the users that a model knows, whose numbers stay.
  explicit EventsInMemory(EventLog& log, const Vocabulary* existing_users = nullptr)
      : log_(&log), existing_(existing_users), all_(order_events(log, log.users.size())) {}
  std::int32_t users() const override { return log_->users.size(); }
  NumberedUsers number_users(std::span<const std::int64_t> counts, ColumnSpace& space) override;
  void each(Access, const std::function<void(OrderedEvents&)>& visit) override { visit(all_); }
  const OrderedEvents& all() const { return all_; }

 private:
  const EventLog* log_;
  const Vocabulary* existing_;
  OrderedEvents all_;
};

/// As data.repeats says: "keep", "same_time", "in_a_row", "first". `items`: how many there are. Returns how many went.
std::int64_t drop_repeats(EventPartitions& events, const std::string& repeats, std::int32_t items);

/// The k-core: users and items with fewer events go until all have enough. Returns how many events went.
std::int64_t keep_core(EventPartitions& events, std::int64_t min_user_events, std::int64_t min_item_events, std::int32_t items);

/// What a log comes to, and beside its events where they come from.
struct BuiltInteractions {
  Interactions data;
  Column<Part> source;  // as in OrderedEvents, in the order of the result
  Column<std::int64_t> line;
};

/// What load_interactions does with a log once it is read and ordered; columns are made in `space`.
BuiltInteractions build_interactions(const EventLog& log, EventPartitions& events, const InteractionsConfig& config,
                                     std::uint64_t seed, const Vocabulary* existing_items, ColumnSpace& space);

/// Gives each event its part as data.split says. `source`: as in BuiltInteractions. Appends what there is to say to the
/// summary.
void split_events(Interactions& data, const InteractionsConfig& config, std::uint64_t seed, const Column<Part>& source,
                  ColumnSpace& space);

}  // namespace tradewind::runtime
