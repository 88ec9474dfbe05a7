#include "runtime/data/check_interactions.h"

#include <algorithm>
#include <array>
#include <utility>

#include "runtime/data/item_attributes.h"
#include "runtime/data/ordered_events.h"
#include "runtime/data/time_parse.h"

namespace tradewind::runtime {
namespace {

std::size_t index(std::int64_t i) { return static_cast<std::size_t>(i); }

std::string shown(std::string_view id) {
  constexpr std::size_t kMost = 60;
  return fmt::format("\"{}{}\"", id.substr(0, kMost), id.size() > kMost ? "..." : "");
}

enum class Oddity : std::uint8_t { kNone, kBlanks, kNothing };

/// Of each id.
std::vector<Oddity> odd_ids(const Vocabulary& ids) {
  constexpr std::array<std::string_view, 9> kNothing = {"nan",  "NaN", "null",      "NULL", "None",
                                                        "none", "N/A", "undefined", "#N/A"};
  const auto blank = [](char c) { return c == ' ' || c == '\t'; };
  std::vector<Oddity> out(index(ids.size()), Oddity::kNone);
  for (std::int32_t i = 0; i < ids.size(); ++i) {
    const std::string_view id = ids.name(i);
    if (std::ranges::find(kNothing, id) != kNothing.end()) out[index(i)] = Oddity::kNothing;
    if (blank(id.front()) || blank(id.back())) out[index(i)] = Oddity::kBlanks;
  }
  return out;
}

/// Of each id the first before it that is the same but for the case of ASCII letters; -1 where there is none.
std::vector<std::int32_t> alike(const Vocabulary& ids) {
  Vocabulary lower;
  std::vector<std::int32_t> first, out;
  for (std::int32_t i = 0; i < ids.size(); ++i) {
    std::string name(ids.name(i));
    std::ranges::transform(name, name.begin(), [](char c) { return c >= 'A' && c <= 'Z' ? static_cast<char>(c + 32) : c; });
    const std::int32_t before = lower.size(), id = lower.add(name, 0);
    out.push_back(id < before ? first[index(id)] : -1);
    if (id == before) first.push_back(i);
  }
  return out;
}

/// Looks for what loads and yet may not be meant.
class Inspector {
 public:
  Inspector(const InteractionsConfig& config, Findings& findings) : config_(config), findings_(findings) {}

  void look_at_ids(const EventLog& log) {
    look_at_case(log, "user", log.users, log.user);
    look_at_case(log, "item", log.items, log.item);
    const auto users = odd_ids(log.users), items = odd_ids(log.items);
    for (std::size_t i = 0; i < log.item.size(); ++i) {
      look_at_id(log, i, "user", log.users.name(log.user[i]), users[index(log.user[i])]);
      look_at_id(log, i, "item", log.items.name(log.item[i]), items[index(log.item[i])]);
    }
  }

  void look_at_times(const EventLog& log) {
    const std::int64_t first = *parse_date("1990-01-01"), end = *parse_date("2101-01-01");
    for (std::size_t i = 0; i < log.time.size(); ++i)
      if (log.time[i] < first || log.time[i] >= end)
        warn(log, i, "odd_time", [&] {
          return Words{fmt::format("the time is read as {}", time_text(log.time[i])),
                       "Numbers of one table have one unit, which the largest tells; is data.time_key the right column?"};
        });
  }

  void look_at_repeats(const EventLog& log, const OrderedEvents& events) {  // all users of the log are there
    const bool timed = !events.time.empty();
    std::vector<std::pair<std::int32_t, std::int64_t>> run;  // item and event, of one time or else of one item in a row
    for (std::int64_t user = 0, event = 0; user < events.users(); ++user)
      for (const std::int64_t end = events.offsets[index(user + 1)]; event < end;) {
        const std::size_t begin = index(event);
        const auto belongs = [&](std::size_t i) {
          return timed ? events.time[i] == events.time[begin] : events.item[i] == events.item[begin];
        };
        run.clear();
        for (; event < end && belongs(index(event)); ++event) run.emplace_back(events.item[index(event)], event);
        std::ranges::sort(run);
        for (std::size_t i = 1; i < run.size(); ++i)
          if (run[i].first == run[i - 1].first)
            warn_of_repeat(log, events, log.users.name(static_cast<std::int32_t>(user)), run[i].second, run[i - 1].second);
      }
  }

  void look_at_users(const Interactions& data, const BuiltInteractions& events) {
    const std::int64_t least = config_.split == "leave_one_out" ? 3 : 2;
    for (std::int32_t user = 0; user < data.users->size(); ++user) {
      const auto n = static_cast<std::int64_t>(data.items_of(user).size());
      if (n >= least) continue;
      warn(events, index(data.offsets[index(user)]), n == 1 ? "user_with_one_event" : "user_with_two_events", [&] {
        return Words{
            fmt::format("user {} has {} event{}, where {} takes {}", shown(data.users->name(user)), n, n == 1 ? "" : "s",
                        least == 3 ? "a share of training, validation and test" : "an order", least),
            "It is trained on as it is; data.min_user_events leaves such users out"};
      });
    }
  }

  void look_at_parts(const Interactions& data, const BuiltInteractions& events) {
    std::vector<bool> trained(index(data.items->size()));
    for (std::size_t i = 0; i < data.part.size(); ++i)
      if (data.part[i] == Part::kTrain) trained[index(data.item[i])] = true;
    for (std::size_t i = 0; i < data.part.size(); ++i)
      if (!trained[index(data.item[i])] && !data.items->is_bucket(data.item[i]))
        warn(events, i, "item_never_trained", [&] {
          return Words{fmt::format("item {} is in {}, and never in training", shown(data.items->name(data.item[i])),
                                   data.part[i] == Part::kTest ? "the test" : "validation"),
                       "A model cannot learn it, and metrics count it as missed; data.min_item_events leaves rare items out"};
        });
  }

  void look_at_attributes(const ItemAttributes& attributes, const Vocabulary& items, CheckReport& report) {
    report.summary += "\n" + attributes.summary;
    for (const std::int32_t item : attributes.absent)
      warn_of_items("item_without_attributes", [&] {
        return Words{fmt::format("it has no item {}, which the events have", shown(items.name(item))),
                     "Such an item has no values; add it where there are any"};
      });
    for (const AttributeColumn& column : attributes.columns) {
      const std::int64_t own = column.values.size() - column.values.buckets();
      if (!column.number && own == 0)
        warn_of_items("column_of_rare_values", [&] {
          return Words{
              fmt::format("no value of the column \"{}\" is of {} items or more", column.name, config_.min_value_items),
              "Nothing is learnt from it; is it a text or a number? A column of numbers goes into "
              "data.item_number_columns"};
        });
    }
  }

 private:
  struct Words {
    std::string what, repair;
  };

  void look_at_case(const EventLog& log, const char* what, const Vocabulary& ids, const std::vector<std::int32_t>& of_event) {
    const auto others = alike(ids);
    for (std::size_t i = 0; i < of_event.size(); ++i)
      if (const std::int32_t other = others[index(of_event[i])]; other >= 0)
        warn(log, i, "ids_of_other_case", [&] {
          return Words{fmt::format("the id of the {} is {}, and {} is one too", what, shown(ids.name(of_event[i])),
                                   shown(ids.name(other))),
                       "Ids are taken as they stand, so capitals make them two; write them alike if they are one"};
        });
  }

  void look_at_id(const EventLog& log, std::size_t event, const char* what, std::string_view id, Oddity oddity) {
    if (oddity == Oddity::kNone) return;
    const bool blanks = oddity == Oddity::kBlanks;
    warn(log, event, blanks ? "blanks_around_id" : "id_of_nothing", [&] {
      return Words{fmt::format("the id of the {} is {}", what, shown(id)),
                   blanks ? "Ids are taken as they stand, so with and without the blank are two; remove it if they are one"
                          : "If that says that there is none, leave the row out; all such rows count as one and the same"};
    });
  }

  void warn_of_repeat(const EventLog& log, const OrderedEvents& events, std::string_view user, std::int64_t event,
                      std::int64_t before) {
    const bool timed = !events.time.empty();
    warn(events, index(event), timed ? "duplicate_event" : "repeat_in_a_row", [&] {
      return Words{
          fmt::format("user {} has item {} {}, as in line {}", shown(user), shown(log.items.name(events.item[index(event)])),
                      timed ? "at the same time" : "once more", events.line[index(before)]),
          fmt::format("If it happened once, set data.repeats = \"{}\"", timed ? "same_time" : "in_a_row")};
    });
  }

  /// `say` gives Words about an event of an EventLog, OrderedEvents or BuiltInteractions.
  template <class Events, class Say>
  void warn(const Events& events, std::size_t event, const char* kind, const Say& say) {
    findings_.warn(kind, [&] {
      const Part source = events.source.empty() ? Part::kTrain : events.source[event];
      Words words = say();
      return DataProblem{.kind = kind,
                         .file = source == Part::kTrain        ? config_.path
                                 : source == Part::kValidation ? config_.validation_path
                                                               : config_.test_path,
                         .line = events.line[event],
                         .what = std::move(words.what),
                         .repair = std::move(words.repair)};
    });
  }

  /// Of the table of items as a whole.
  template <class Say>
  void warn_of_items(const char* kind, const Say& say) {
    findings_.warn(kind, [&] {
      Words words = say();
      return DataProblem{.kind = kind, .file = config_.items, .what = std::move(words.what), .repair = std::move(words.repair)};
    });
  }

  const InteractionsConfig& config_;
  Findings& findings_;
};

}  // namespace

CheckReport check_interactions(const InteractionsConfig& config, std::uint64_t seed, std::size_t examples) {
  Findings findings(examples);
  Inspector inspector(config, findings);
  CheckReport report;
  findings.report_what_ends([&] {
    EventLog log = read_events(config, findings, true);
    report.rows = log.rows;
    inspector.look_at_ids(log);
    inspector.look_at_times(log);
    EventsInMemory events(log);
    if (config.repeats == "keep") inspector.look_at_repeats(log, events.all());
    MemorySpace space;
    const BuiltInteractions built = build_interactions(log, events, config, seed, nullptr, space);
    const Interactions& data = built.data;
    inspector.look_at_users(data, built);
    inspector.look_at_parts(data, built);
    report.events = data.events();
    report.users = data.users->size();
    report.items = data.items->size();
    report.summary = data.summary;
    if (!config.items.empty())
      inspector.look_at_attributes(load_item_attributes(config, *data.items, findings), *data.items, report);
  });
  report.findings = findings.finish();
  return report;
}

}  // namespace tradewind::runtime
