#include "runtime/data/interactions.h"

#include <fmt/format.h>
#include <fmt/ranges.h>
#include <xxhash.h>

#include <algorithm>
#include <array>
#include <iterator>
#include <numeric>
#include <utility>

#include "kernels/base/error.h"
#include "runtime/config/config.h"
#include "runtime/data/corpus_parts.h"
#include "runtime/data/ordered_events.h"
#include "runtime/data/prepared_interactions.h"
#include "runtime/data/time_parse.h"

namespace tradewind::runtime {
namespace {

std::size_t index(std::int64_t i) { return static_cast<std::size_t>(i); }

/// What was read, and why rows of it do not count.
std::string describe_log(const EventLog& log) {
  std::string said = fmt::format("{}", fmt::join(log.files, "\n"));
  if (log.other_kinds.size() > 0) {
    constexpr std::int32_t kMost = 10;
    const Vocabulary kinds = Vocabulary::by_count(log.other_kinds, log.other_kinds.counts());
    std::vector<std::string> each;
    for (std::int32_t i = 0; i < std::min(kinds.size(), kMost); ++i)
      each.push_back(fmt::format("{} \"{}\"", with_commas(kinds.count(i)), kinds.name(i)));
    if (kinds.size() > kMost)
      each.push_back(fmt::format("{}{} more kinds", log.more_kinds > 0 ? "over " : "", kinds.size() - kMost));
    said += fmt::format("\nleft out, as data.events does not name them: {}", fmt::join(each, ", "));
  }
  for (const std::string& kind : log.absent_kinds) said += fmt::format("\nno row has the kind \"{}\" of data.events", kind);
  if (log.below_rating > 0)
    said += fmt::format("\nleft out, as their rating is below data.min_rating: {}", with_commas(log.below_rating));
  return said;
}

/// `unknown`: of the events that were read, those of items that the model does not know.
[[noreturn]] void refuse_nothing(const InteractionsConfig& config, const EventLog& log, std::int64_t unknown) {
  const std::int64_t read = log.counted;
  std::string why = log.rows == 0 ? "No row of it could be read: is it the right table, and is it whole?"
                                  : fmt::format("Rows: {}", with_commas(log.rows));
  if (log.other_kinds.size() > 0) {
    std::vector<std::string> kinds;
    for (std::int32_t i = 0; i < std::min(log.other_kinds.size(), 20); ++i) kinds.emplace_back(log.other_kinds.name(i));
    why += fmt::format("; of kinds that data.events = \"{}\" does not name: {}. Set it to some of: {}", config.events,
                       with_commas(log.rows - log.below_rating - read), fmt::join(kinds, ", "));
  }
  if (log.below_rating > 0)
    why += fmt::format("; rated below data.min_rating = {:g}: {}", config.min_rating, with_commas(log.below_rating));
  if (unknown > 0)
    why += fmt::format(
        "; events that count: {}, of which {} are of items that the model does not know. Is it a table of the same shop, and "
        "data.item_key the same id?",
        with_commas(read), with_commas(unknown));
  else if (read > 0)
    why += fmt::format(
        "; events that count: {}, but no user and item have as many as data.min_user_events = {} and data.min_item_events = {} "
        "ask for. Lower these",
        with_commas(read), config.min_user_events, config.min_item_events);
  throw ProblemError({.kind = "no_events", .file = config.path, .what = "no events to learn from", .repair = why});
}

/// The items with as many training events as a row of their own takes, and how many buckets the config asks for.
std::shared_ptr<const Vocabulary> with_buckets(const Interactions& data, const InteractionsConfig& config) {
  const Vocabulary& all = *data.items;
  std::vector<std::int64_t> trained(index(all.size())), count(all.counts().begin(), all.counts().end());
  for (std::size_t i = 0; i < data.item.size(); ++i) trained[index(data.item[i])] += data.part[i] == Part::kTrain ? 1 : 0;
  const std::int64_t least = std::max<std::int64_t>(config.min_item_events, 1);
  for (std::size_t i = 0; i < count.size(); ++i)
    if (trained[i] < least) count[i] = 0;
  auto out = std::make_shared<Vocabulary>(Vocabulary::by_count(all, count, static_cast<std::int32_t>(config.unknown_buckets)));
  if (out->size() == out->buckets())
    throw ProblemError({.kind = "rare_items",
                        .file = config.path,
                        .what = fmt::format("no item has the {} training events that a row of its own takes", least),
                        .repair = "Lower data.min_item_events"});
  for (std::int32_t i = 0; i < all.size(); ++i)
    if (count[index(i)] == 0) out->count_unknown(all.name(i), all.count(i));
  return out;
}

/// Gives the events the rows of data.unknown_buckets, or of the run's vocabulary. Before, every item has a number.
void put_in_buckets(Interactions& data, const InteractionsConfig& config, const Vocabulary* existing) {
  const std::shared_ptr<const Vocabulary> all = data.items;
  data.items = existing == nullptr ? with_buckets(data, config) : std::make_shared<const Vocabulary>(*existing);
  std::vector<std::int32_t> row(index(all->size()));
  std::int64_t unknown = 0;
  for (std::int32_t i = 0; i < all->size(); ++i) {
    row[index(i)] = data.items->row_of(all->name(i));
    unknown += data.items->is_bucket(row[index(i)]) ? 1 : 0;
  }
  std::array<std::int64_t, 3> events{};
  const auto item = data.item.writable();
  for (std::size_t i = 0; i < item.size(); ++i) {
    item[i] = row[index(item[i])];
    if (data.items->is_bucket(data.item[i])) ++events[static_cast<std::size_t>(data.part[i])];
  }
  data.summary += fmt::format(
      "\n{} items have a row of their own; {} others share {} rows (data.unknown_buckets), with {} events of training, {} of "
      "validation, {} of test",
      with_commas(data.items->size() - data.items->buckets()), with_commas(unknown), with_commas(data.items->buckets()),
      with_commas(events[0]), with_commas(events[1]), with_commas(events[2]));
  if (existing == nullptr && events[0] == 0)
    data.summary +=
        "\nno training event is in the shared rows, so nothing is learnt there: raise data.min_item_events to 2 or more";
}

/// A run's vocabulary stays as it is, its buckets too.
void check_buckets(const InteractionsConfig& config, const Vocabulary& existing) {
  if (config.unknown_buckets == existing.buckets()) return;
  throw ConfigError(fmt::format(
      "data.unknown_buckets = {}, but the model has {} rows for items it does not know. Set it to {}, or train anew "
      "with --fresh",
      config.unknown_buckets, existing.buckets(), existing.buckets()));
}

/// How many events the users of the partitions and the items of the log have that are left.
struct Counts {
  std::vector<std::int64_t> of_user, of_item;
};

Counts count(EventPartitions& events, const EventLog& log) {
  Counts out{.of_user = std::vector<std::int64_t>(index(events.users())),
             .of_item = std::vector<std::int64_t>(index(log.items.size()))};
  events.each(EventPartitions::Access::kRead, [&](const OrderedEvents& part) {
    for (const std::int32_t item : part.item) ++out.of_item[index(item)];
    for (std::size_t u = 0; u < part.user.size(); ++u) out.of_user[index(part.user[u])] = part.offsets[u + 1] - part.offsets[u];
  });
  return out;
}

/// Events under the numbers of data.users and data.items, the users in order of theirs. They are scattered: numbers go by the
/// counts of all users, so those of one partition lie all over the columns.
void renumber(BuiltInteractions& built, EventPartitions& events, const EventLog& log, const Counts& counts,
              const std::vector<std::int32_t>& user_of, ColumnSpace& space) {
  Interactions& data = built.data;
  std::vector<std::int32_t> item_of(index(log.items.size()));
  for (std::int32_t i = 0; i < log.items.size(); ++i) item_of[index(i)] = data.items->find(log.items.name(i));
  data.offsets = space.column<std::int64_t>(index(data.users->size()) + 1);
  const auto offsets = data.offsets.writable();
  for (std::size_t u = 0; u < user_of.size(); ++u)
    if (user_of[u] >= 0) offsets[index(user_of[u]) + 1] = counts.of_user[u];
  std::partial_sum(offsets.begin(), offsets.end(), offsets.begin());
  const std::size_t n = index(offsets.back());
  data.item = space.column<std::int32_t>(n);
  bool first = true;
  const auto scatter = [&](auto& to, const auto& from, const OrderedEvents& part) {
    if (from.empty()) return;
    for (std::size_t u = 0; u < part.user.size(); ++u)
      if (const std::int32_t id = user_of[index(part.user[u])]; id >= 0)
        std::copy(from.begin() + part.offsets[u], from.begin() + part.offsets[u + 1],
                  to.writable().begin() + offsets[index(id)]);
  };
  events.each(EventPartitions::Access::kRead, [&](OrderedEvents& part) {
    if (part.item.empty()) return;
    if (std::exchange(first, false)) {
      if (!part.time.empty()) data.time = space.column<std::int64_t>(n);
      if (!part.source.empty()) built.source = space.column<Part>(n);
      if (!part.line.empty()) built.line = space.column<std::int64_t>(n);
    }
    std::vector<std::int32_t> renumbered(part.item.size());
    std::ranges::transform(part.item, renumbered.begin(), [&](std::int32_t item) { return item_of[index(item)]; });
    scatter(data.item, renumbered, part);
    scatter(data.time, part.time, part);
    scatter(built.source, part.source, part);
    scatter(built.line, part.line, part);
  });
}

std::uint64_t checksum_of(const Interactions& data) {
  std::uint64_t sum = data.users->checksum();
  const auto add = [&](const auto& values) {
    sum = XXH3_64bits_withSeed(values.data(), values.size() * sizeof(values[0]), sum);
  };
  add(std::vector<std::uint64_t>{data.items->checksum()});
  add(data.offsets), add(data.item), add(data.time), add(data.part);
  return sum;
}

}  // namespace

void InteractionsConfig::describe(Fields& f) {
  f.field("path", path, "The table of events, plain or compressed with gzip, zstd or xz.");
  f.field("prepared", prepared,
          "The file that `tradewind prepare` made of the table: it is mapped, not read; \"\": read the table. Where the table "
          "is still there, it must be the one that was prepared.");
  f.field("validation_path", validation_path, "With split = \"given\": the table of events to validate on.");
  f.field("test_path", test_path, "With split = \"given\": the table of events to test on.");
  f.field("format", format,
          "csv: the first line names the columns and tells the separator (tab, semicolon, bar, comma or ::). jsonl: an object "
          "a line. spaces: fields "
          "between blanks. sequences: a user and its items a line. hdf5: a dataset a column. auto: by the name, csv for .csv, "
          ".tsv and .inter, jsonl for .jsonl and .ndjson, hdf5 for .h5 and .hdf5.",
          {"auto", "csv", "jsonl", "spaces", "sequences", "hdf5"});
  f.field("columns", columns, "Names of the columns of a file whose first line does not give them, e.g. \"user item time\".");
  f.field("separator", separator,
          "Of csv: what stands between fields, one character or more, e.g. \"::\"; \"\": the first line tells.");
  f.field("comment", comment, "Lines that begin so are passed over; \"\": none.");
  f.field("user_key", user_key, "The column (of jsonl: the key) of the user's id.");
  f.field("item_key", item_key, "The column of the item's id.");
  f.field("time_key", time_key, "The column of the time; \"\": a user's rows are in order of time.");
  f.field("time_format", time_format,
          "How times are written, e.g. \"%d/%m/%Y %H:%M\"; \"\": numbers since 1970 or 2024-11-29T10:52:50Z and the like.");
  f.field("event_key", event_key, "The column that says what kind of event a row is.");
  f.field("events", events, "With event_key: the kinds that count, e.g. \"view, buy\"; \"\": all.");
  f.field("rating_key", rating_key, "The column of a rating; \"\": every event counts.");
  f.field("min_rating", min_rating, "With rating_key: events that are rated below do not count.");
  f.field(
      "repeats", repeats,
      "What becomes of a user's events with the same item: all stay; one stays of those of the same time; of those in a row; "
      "of all, the first.",
      {"keep", "same_time", "in_a_row", "first"});
  f.field("min_user_events", min_user_events, "Users with fewer are left out, repeatedly with min_item_events.", {.min = 0});
  f.field("min_item_events", min_item_events,
          "Items with fewer are left out; with unknown_buckets those with fewer in training share its rows.", {.min = 0});
  f.field(
      "unknown_buckets", unknown_buckets,
      "Rows that items without one of their own share by their hash: rare ones, and those first met after training. They are "
      "never recommended, and in evaluation never hit. 0: such items are left out.",
      {.min = 0, .max = 1 << 30});
  f.field(
      "items", items,
      "The table of items, for models that know them by their attributes too; \"\": none. It is read when training begins or "
      "goes on; a run keeps what it says.");
  f.field("items_format", items_format, "csv, jsonl or hdf5; auto: by the name. The first line of csv names the columns.",
          {"auto", "csv", "jsonl", "hdf5"});
  f.field("items_key", items_key, "The column of the item's id in items; \"\": it is named as in item_key.");
  f.field(
      "item_columns", item_columns,
      "Columns of items that hold ids or words, e.g. \"category brand\", with commas where a name has blanks. An empty field "
      "is no value.");
  f.field(
      "item_number_columns", item_number_columns,
      "Columns of items that hold numbers, e.g. \"price\", of which number_ranges are made. An empty field, in HDF5 NaN, is no "
      "value.");
  f.field(
      "list_separator", list_separator,
      "What stands between values where a field of item_columns holds several, e.g. \"|\" or \", \"; \"\": each holds one.");
  f.field("number_ranges", number_ranges, "How many ranges a column of numbers becomes, of equally many items.",
          {.min = 1, .max = 1 << 20});
  f.field("min_value_items", min_value_items,
          "Values of item_columns that fewer items have share the rows of value_buckets, as do those first met later.",
          {.min = 1});
  f.field("value_buckets", value_buckets, "Rows that such values of a column share by their hash; 0: they count as no value.",
          {.min = 0, .max = 1 << 30});
  f.field("split", split,
          "leave_one_out: of users with 3 events or more the last is test, the one before validation. ratio: of each user at "
          "random. time: the latest of all. user: all of some users. given: the files that validation_path and test_path name. "
          "none: all is training.",
          {"leave_one_out", "ratio", "time", "user", "given", "none"});
  f.field("validation_fraction", validation_fraction, "With ratio, time and user: how much.",
          {.min = 0, .max = 1, .below_max = true});
  f.field("test_fraction", test_fraction, "With ratio, time and user: how much.", {.min = 0, .max = 1, .below_max = true});
  f.field("shuffle", shuffle, "Shuffle the samples, differently each epoch.");
}

void InteractionsConfig::check() const {
  const auto refuse = [](const std::string& what) { throw ConfigError(what); };
  if (path.empty()) refuse("data.path is empty. Set it to the table of events, e.g. --set data.path=events.csv");
  const bool given = split == "given", files = !validation_path.empty() || !test_path.empty();
  if (given && !files)
    refuse("data.split = \"given\" needs the files of the parts. Set data.validation_path or data.test_path, or both");
  if (!given && files)
    refuse(fmt::format("data.{} is set, which only data.split = \"given\" reads. Set that, or leave it empty",
                       validation_path.empty() ? "test_path" : "validation_path"));
  if (split == "time" && time_key.empty()) refuse("data.split = \"time\" needs times. Set data.time_key to their column");
  if (repeats == "same_time" && time_key.empty())
    refuse("data.repeats = \"same_time\" needs times. Set data.time_key to their column");
  if (!events.empty() && event_key.empty())
    refuse(fmt::format("data.events = \"{}\" needs data.event_key, the column that says what kind of event a row is", events));
  if (!time_format.empty() && time_key.empty()) refuse("data.time_format needs data.time_key, the column of the time");
  if (separator.find_first_of("\r\n\"") != std::string::npos)
    refuse("data.separator holds a line break or a quote, which cannot separate fields. Set it to what stands between them");
  check_items();
  if (validation_fraction + test_fraction >= 1)
    refuse(fmt::format("data.validation_fraction = {:g} and data.test_fraction = {:g} leave nothing to train on. Lower them",
                       validation_fraction, test_fraction));
}

void InteractionsConfig::check_items() const {
  const auto refuse = [](const std::string& what) { throw ConfigError(what); };
  std::vector<std::string> names = column_names(item_columns);
  std::ranges::move(column_names(item_number_columns), std::back_inserter(names));
  if (items.empty()) {
    for (const auto& [value, key] :
         {std::pair{&items_key, "items_key"}, {&item_columns, "item_columns"}, {&item_number_columns, "item_number_columns"}})
      if (!value->empty())
        refuse(fmt::format("data.{} = \"{}\" is of a table of items. Set data.items to it, or leave data.{} empty", key, *value,
                           key));
    return;
  }
  if (names.empty())
    refuse(
        fmt::format("data.items = \"{}\", and none of its columns is named. Set data.item_columns, e.g. to \"category "
                    "brand\", or data.item_number_columns",
                    items));
  std::ranges::sort(names);
  if (const auto twice = std::ranges::adjacent_find(names); twice != names.end())
    refuse(fmt::format("data.item_columns and data.item_number_columns name \"{}\" twice. Leave one of them", *twice));
}

BuiltInteractions build_interactions(const EventLog& log, EventPartitions& events, const InteractionsConfig& config,
                                     std::uint64_t seed, const Vocabulary* existing_items, ColumnSpace& space) {
  BuiltInteractions built;
  Interactions& data = built.data;
  data.summary = describe_log(log);
  const auto say = [&](std::int64_t n, const char* what) {
    if (n > 0) data.summary += fmt::format("\n{}: {}", what, with_commas(n));
  };
  const std::int32_t items = log.items.size();
  std::int64_t unknown = 0;  // events that the model can make nothing of
  const bool buckets = config.unknown_buckets > 0;
  if (existing_items != nullptr) check_buckets(config, *existing_items);
  say(drop_repeats(events, config.repeats, items), "left out as repeats (data.repeats)");
  if (existing_items != nullptr && !buckets) {
    std::vector<bool> known(index(items));
    for (std::int32_t i = 0; i < items; ++i) known[index(i)] = existing_items->find(log.items.name(i)) >= 0;
    events.each(EventPartitions::Access::kChange, [&](OrderedEvents& part) {
      unknown += part.keep([&](std::int64_t, std::int64_t event) { return known[index(part.item[index(event)])]; });
    });
    say(unknown, "left out, as the model does not know their items");
  }
  say(keep_core(events, config.min_user_events, buckets ? 0 : config.min_item_events, items),
      buckets ? "left out as users have too few" : "left out as users or items have too few");
  const Counts counts = count(events, log);
  if (std::ranges::all_of(counts.of_user, [](std::int64_t n) { return n == 0; })) refuse_nothing(config, log, unknown);

  const NumberedUsers users = events.number_users(counts.of_user, space);
  data.users = users.names;
  data.items = numbered(log.items, counts.of_item, buckets ? nullptr : existing_items);
  say(users.unknown, "users that the model does not know");
  const std::int64_t left = std::accumulate(counts.of_user.begin(), counts.of_user.end(), std::int64_t{0});
  if (data.items->size() < 2)
    throw ProblemError({.kind = "one_item",
                        .file = config.path,
                        .what = fmt::format("{} event{} of one item, \"{}\"", with_commas(left), left == 1 ? "" : "s",
                                            data.items->name(0).substr(0, 80)),
                        .repair = "A recommender needs events of several items"});
  renumber(built, events, log, counts, users.number_of, space);
  data.summary += fmt::format("\n{} events of {} users with {} items", with_commas(data.events()),
                              with_commas(data.users->size()), with_commas(data.items->size()));
  if (!data.time.empty()) {
    const auto [first, last] = std::ranges::minmax(data.time.span());
    data.summary += fmt::format("\ntimes: {} to {} (UTC)", time_text(first), time_text(last));
  }
  split_events(data, config, seed, built.source, space);
  if (existing_items == nullptr && std::ranges::find(data.part, Part::kTrain) == data.part.end())
    throw ProblemError({.kind = "no_training",
                        .file = config.path,
                        .what = fmt::format("data.split = \"{}\" leaves nothing to train on", config.split),
                        .repair = "Lower data.validation_fraction and data.test_fraction, or give more events"});
  if (buckets) put_in_buckets(data, config, existing_items);
  data.checksum = checksum_of(data);
  return built;
}

Interactions load_interactions(const InteractionsConfig& config, std::uint64_t seed, const Vocabulary* existing_users,
                               const Vocabulary* existing_items) {
  if (!config.prepared.empty()) {
    return open_prepared_interactions(config, seed, existing_users, existing_items);
  }
  ThrowProblems sink;
  EventLog log = read_events(config, sink);
  EventsInMemory events(log, existing_users);
  MemorySpace space;
  return build_interactions(log, events, config, seed, existing_items, space).data;
}

}  // namespace tradewind::runtime
