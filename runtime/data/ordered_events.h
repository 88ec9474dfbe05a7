// Between a log of events and the data of a recommender: each user's events in order, and what is left out of them.
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "runtime/data/event_log.h"

namespace tradewind::runtime {

/// Events by user; the numbers are those of the log.
struct OrderedEvents {
  std::vector<std::int64_t> offsets;  // [users + 1]
  std::vector<std::int32_t> item;     // [events], a user's in order of time, those of one time as in the files
  std::vector<std::int64_t> time;     // [events], or empty as in the log; so the next two
  std::vector<Part> source;
  std::vector<std::int64_t> line;

  std::int64_t users() const { return static_cast<std::int64_t>(offsets.size()) - 1; }
  std::int64_t events() const { return static_cast<std::int64_t>(item.size()); }
  /// Leaves out the events for which `keeps(user, event)` is false; it is asked in order. Returns how many went.
  std::int64_t keep(const std::function<bool(std::int64_t user, std::int64_t event)>& keeps);
};

/// Empties the log's arrays of events as it goes, so that they are not held twice.
OrderedEvents order_events(EventLog& log);

/// As data.repeats says: "keep", "same_time", "in_a_row", "first". `items`: how many there are. Returns how many went.
std::int64_t drop_repeats(OrderedEvents& events, const std::string& repeats, std::int32_t items);

/// The k-core: users and items with fewer events go until all have enough. Returns how many events went.
std::int64_t keep_core(OrderedEvents& events, std::int64_t min_user_events, std::int64_t min_item_events, std::int32_t items);

/// What load_interactions does with a log once it is read and ordered. Leaves in `events` those that are left, in the order of
/// the result, without their items and times.
Interactions build_interactions(const EventLog& log, OrderedEvents& events, const InteractionsConfig& config,
                                std::uint64_t seed, const Vocabulary* existing_users, const Vocabulary* existing_items);

/// Gives each event its part as data.split says. `source`: as in OrderedEvents. Appends what there is to say to the summary.
void split_events(Interactions& data, const InteractionsConfig& config, std::uint64_t seed, const std::vector<Part>& source);

}  // namespace tradewind::runtime
