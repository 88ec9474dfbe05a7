// What users did with items, in order: the data of recommenders.
//
// A table of events (event_log.h) becomes a sequence of items a user:
//   1. rows are read, and of them those kept whose kind data.events names and whose rating is at least data.min_rating;
//   2. each user's events are put in order of time; those of one time, and all without times, stay as they are in the file;
//   3. repeats go, as data.repeats says;
//   4. users with fewer than data.min_user_events events and items with fewer than data.min_item_events go, again and again
//      until all have enough (the k-core);
//   5. users and items get numbers, the most frequent first (vocabulary.h);
//   6. each event gets the part it belongs to: training, validation or test;
//   7. with data.unknown_buckets, items with fewer than data.min_item_events events in training, or none, do not go in step 4,
//      but share that many rows by their hash (the buckets of vocabulary.h), as do items that are first met later, when a
//      trained model is evaluated or asked.
// None of it depends on threads or ranks, and the split not on the order of the users.
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "runtime/config/fields.h"
#include "runtime/data/column.h"
#include "runtime/data/problem.h"
#include "runtime/data/vocabulary.h"

namespace tradewind::runtime {

/// The section [data] of models that learn from events.
struct InteractionsConfig {
  std::string path = {};
  std::string prepared = {};
  std::string validation_path = {};
  std::string test_path = {};
  std::string format = "auto";
  std::string columns = {};
  std::string separator = {};
  std::string comment = {};
  std::string user_key = "user";
  std::string item_key = "item";
  std::string time_key = {};
  std::string time_format = {};
  std::string event_key = {};
  std::string events = {};
  std::string rating_key = {};
  double min_rating = 0;
  std::string repeats = "keep";
  std::int64_t min_user_events = 0;
  std::int64_t min_item_events = 0;
  std::int64_t unknown_buckets = 0;
  std::string items = {};
  std::string items_format = "auto";
  std::string items_key = {};
  std::string item_columns = {};
  std::string item_number_columns = {};
  std::string list_separator = {};
  std::int64_t number_ranges = 10;
  std::int64_t min_value_items = 2;
  std::int64_t value_buckets = 1;
  std::string split = "leave_one_out";
  double validation_fraction = 0.1;
  double test_fraction = 0.1;
  bool shuffle = true;

  void describe(Fields& f);
  /// Throws ConfigError where keys do not go together.
  void check() const;

 private:
  void check_items() const;
};

enum class Part : std::uint8_t { kTrain, kValidation, kTest };

struct Interactions {
  std::shared_ptr<const Vocabulary> users, items;  // counts: events, of all parts; users have no buckets
  Column<std::int64_t> offsets;                    // [users + 1]: user u has the events [offsets[u], offsets[u + 1])
  Column<std::int32_t> item;                       // [events], a user's in order of time
  Column<std::int64_t> time;                       // [events] microseconds since 1970 in UTC; empty without data.time_key
  Column<Part> part;                               // [events]
  std::uint64_t checksum = 0;                      // XXH3-64 of all the above
  std::string summary;                             // lines for the run log

  std::int64_t events() const { return static_cast<std::int64_t>(item.size()); }
  std::span<const std::int32_t> items_of(std::int32_t user) const {
    const auto u = static_cast<std::size_t>(user);
    return item.span().subspan(static_cast<std::size_t>(offsets[u]), static_cast<std::size_t>(offsets[u + 1] - offsets[u]));
  }
};

/// Reads what `config` names. `seed` keys the splits that are random, with the names of users and items, so that they stay when
/// the file grows or is put in another order.
///
/// With the vocabularies of a run, their numbers stay: events of items that the run does not know are left out or belong to its
/// buckets, and users that it does not know come behind its own; the summary says how many. Throws ConfigError where keys do
/// not go together, or with the run's vocabulary, and
/// DataError with file, line and column: what TableStream does, an empty or too long id, a time or a rating that cannot be
/// read; and where nothing is left to learn from.
Interactions load_interactions(const InteractionsConfig& config, std::uint64_t seed, const Vocabulary* existing_users = nullptr,
                               const Vocabulary* existing_items = nullptr);

}  // namespace tradewind::runtime
