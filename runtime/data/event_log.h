// The events of one or several tables, as they are: rows to numbers, before anything is sorted or left out.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "runtime/data/interactions.h"
#include "runtime/data/table_stream.h"

namespace tradewind::runtime {

/// An id of more bytes is no id, but a text or a quote that is not closed.
inline constexpr std::size_t kLongestId = 4096;

/// More are no kinds, but ids or times; and so are longer ones, which are cut.
inline constexpr std::int32_t kMostKinds = 1000;
inline constexpr std::size_t kLongestKind = 100;

struct EventArrays {
  std::vector<std::int32_t> user;  // [events], in the order of the files
  std::vector<std::int32_t> item;
  std::vector<std::int64_t> time;  // [events] microseconds since 1970 in UTC; empty without data.time_key
  std::vector<Part> source;        // [events] the file: data.path, validation_path, test_path; empty where there is one
  std::vector<std::int64_t> line;  // [events] of its file; empty unless asked for
};

struct EventLog : EventArrays {  // empty where a taker had them, as then are the users
  Vocabulary users, items;       // in the order of their first event; counts: events

  std::vector<std::string> files;         // a line each for the run log
  std::int64_t rows = 0;                  // that could be read
  std::int64_t counted = 0;               // of them, the events
  int time_unit = 0;                      // TimeColumn's, at the end
  std::int64_t below_rating = 0;          // of them
  Vocabulary other_kinds;                 // of events that data.events does not name, the first kMostKinds; counts: rows
  std::int64_t more_kinds = 0;            // rows of others still
  std::vector<std::string> absent_kinds;  // that data.events names, but no row has
};

/// Who wants events as they are read, so that they are not held.
class EventTaker {
 public:
  virtual ~EventTaker() = default;
  /// Some events; their users' numbers are those of `users`, which has their names alone. Times are in the unit that is known
  /// so far, `unit` of TimeColumn.
  virtual void take(const EventArrays& events, const Vocabulary& users, int unit) = 0;
};

/// Reads data.path, then data.validation_path and data.test_path where they are set. Rows with problems are told to `sink` and
/// passed over. With a taker it gets the events and users, and the log has none. Throws as load_interactions does.
EventLog read_events(const InteractionsConfig& config, ProblemSink& sink, bool keep_lines = false, EventTaker* taker = nullptr);

/// How `path`, a file that the config key `key` names, is read.
TableOptions table_options(const InteractionsConfig& config, const std::string& path, const std::string& key);

/// Nothing where `text` is not a finite number, the whole of it.
std::optional<double> finite_number(std::string_view text);

/// "view, buy" as {"view", "buy"}.
std::vector<std::string> listed(const std::string& text);
/// The same, and where there is no comma "view buy" too.
std::vector<std::string> column_names(const std::string& text);

}  // namespace tradewind::runtime
