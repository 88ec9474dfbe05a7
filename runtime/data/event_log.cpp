#include "runtime/data/event_log.h"

#include <fmt/format.h>

#include <charconv>
#include <cmath>

#include "kernels/base/error.h"
#include "runtime/data/corpus_parts.h"
#include "runtime/data/table_stream.h"
#include "runtime/data/time_parse.h"
#include "runtime/text/utf8.h"

namespace tradewind::runtime {
namespace {

std::vector<std::string> words_of(const std::string& text, std::string_view separators) {
  std::vector<std::string> out;
  for (std::size_t at = 0; (at = text.find_first_not_of(separators, at)) != std::string::npos;) {
    const std::size_t end = std::min(text.find_first_of(separators, at), text.size());
    out.push_back(text.substr(at, end - at));
    at = end;
  }
  return out;
}

/// Reads the rows of one file after another into a log.
class EventReader {
 public:
  EventReader(const InteractionsConfig& config, ProblemSink& sink, bool keep_lines, EventTaker* taker)
      : config_(config),
        sink_(sink),
        taker_(taker),
        keep_lines_(keep_lines),
        several_(config.split == "given"),
        times_(config.time_format) {
    wanted_ = {{config.user_key, "data.user_key", true}, {config.item_key, "data.item_key", true}};
    const auto want = [&](const std::string& name, const char* key) -> std::size_t {
      if (name.empty()) return 0;
      wanted_.push_back({name, key});
      return wanted_.size() - 1;
    };
    time_ = want(config.time_key, "data.time_key");
    kind_ = want(config.event_key, "data.event_key");
    rating_ = want(config.rating_key, "data.rating_key");
    for (const std::string& kind : listed(config.events)) kinds_.add(kind, 0);
  }

  void read(const std::string& path, const std::string& key, Part source) {
    const TableOptions options = table_options(config_, path, key);
    const bool sequences = options.format == TableFormat::kSequences;
    if (!config_.separator.empty() && options.format != TableFormat::kCsv)
      throw ConfigError(
          fmt::format("data.separator = \"{}\" goes with data.format = \"csv\" alone, and {} is read as another. Set "
                      "data.format = \"csv\", or leave data.separator empty",
                      config_.separator, path));
    if (sequences) refuse_columns();
    TableStream table(path, options, sequences ? std::vector<WantedColumn>{} : wanted_);
    const std::int64_t before = log_.counted;
    while (table.next(sink_)) {
      ++log_.rows;
      if (sequences)
        read_sequence(table);
      else
        read_row(table);
      if (several_) log_.source.resize(log_.item.size(), source);
      if (keep_lines_) log_.line.resize(log_.item.size(), table.line());
      if (log_.item.size() >= kTaken) hand_over();
    }
    std::string said = fmt::format("{}: {} events", path, with_commas(log_.counted - before));
    if (!table.compression().empty()) said += " in " + table.compression();
    log_.files.push_back(std::move(said));
  }

  EventLog finish() {
    hand_over();
    log_.time_unit = times_.unit();
    for (std::int32_t kind = 0; kind < kinds_.size(); ++kind)
      if (kinds_.count(kind) == 0) log_.absent_kinds.emplace_back(kinds_.name(kind));
    return std::move(log_);
  }

 private:
  static constexpr std::size_t kTaken = std::size_t{1} << 16;  // events at once

  /// To the taker, where there is one.
  void hand_over() {
    if (taker_ == nullptr || log_.item.empty()) return;
    taker_->take(log_, log_.users, times_.unit());
    log_.users = Vocabulary();
    log_.user.clear(), log_.item.clear(), log_.time.clear(), log_.source.clear(), log_.line.clear();
  }

  void refuse_columns() const {
    for (const auto& [value, key] : {std::pair{&config_.columns, "columns"},
                                     {&config_.time_key, "time_key"},
                                     {&config_.event_key, "event_key"},
                                     {&config_.rating_key, "rating_key"}})
      if (!value->empty())
        throw ConfigError(
            fmt::format("data.{} = \"{}\" does not go with data.format = \"sequences\", whose rows are a user and its items. "
                        "Leave it empty",
                        key, *value));
  }

  /// Says what is wrong with an id, if anything.
  bool is_id(const TableStream& table, std::size_t place, const char* what) {
    const std::string_view id = table.fields()[place];
    if (!id.empty() && id.size() <= kLongestId) return true;
    sink_.report(id.empty()
                     ? table.problem_at(place, "empty_id", fmt::format("the id of the {} is empty", what),
                                        "Give every event its ids, or leave the row out")
                     : table.problem_at(place, "long_id",
                                        fmt::format("the id of the {} has {} bytes, where {} are the most", what,
                                                    with_commas(static_cast<std::int64_t>(id.size())), with_commas(kLongestId)),
                                        "Is it the right column, and is every quote closed?"));
    return false;
  }

  void add(std::string_view user, std::string_view item) {
    log_.user.push_back(log_.users.add(user));
    log_.item.push_back(log_.items.add(item));
    ++log_.counted;
  }

  void read_sequence(const TableStream& table) {
    const auto fields = table.fields();
    if (!is_id(table, 0, "user")) return;
    if (fields.size() == 1) {
      sink_.report(table.problem_at(0, "no_items", fmt::format("the user \"{}\" has no items", fields[0]),
                                    "Write a user and its items, from first to last, or leave the line out"));
      return;
    }
    for (std::size_t i = 1; i < fields.size(); ++i)
      if (is_id(table, i, "item")) add(fields[0], fields[i]);
  }

  void read_row(const TableStream& table) {
    const bool user = is_id_of(table, 0, "user"), item = is_id_of(table, 1, "item");
    std::int64_t time = 0;
    if (time_ != 0) {
      if (const auto refusal = times_.read(table[time_], time)) {
        sink_.report(table.problem(time_, "time", refusal->what, refusal->repair));
        return;
      }
      times_.rescale(log_.time);
    }
    double rating = 0;
    if ((rating_ != 0 && !read_rating(table, rating)) || !user || !item) return;
    if (kind_ != 0 && kinds_.size() > 0) {
      const std::int32_t kind = kinds_.find(table[kind_]);
      if (kind < 0) {
        leave_out(table[kind_]);
        return;
      }
      kinds_.add(table[kind_]);
    }
    if (rating_ != 0 && rating < config_.min_rating) {
      ++log_.below_rating;
      return;
    }
    add(table[0], table[1]);
    if (time_ != 0) log_.time.push_back(time);
  }

  /// An event of another kind than those of data.events.
  void leave_out(std::string_view kind) {
    kind = kind.substr(0, kLongestKind);
    kind = kind.substr(0, whole_characters(kind));
    if (log_.other_kinds.size() < kMostKinds || log_.other_kinds.find(kind) >= 0)
      log_.other_kinds.add(kind);
    else
      ++log_.more_kinds;
  }

  bool is_id_of(const TableStream& table, std::size_t wanted, const char* what) {
    return is_id(table, table.place(wanted), what);
  }

  bool read_rating(const TableStream& table, double& rating) {
    const std::string_view text = table[rating_];
    if (const auto number = finite_number(text)) {
      rating = *number;
      return true;
    }
    sink_.report(table.problem(rating_, "number", fmt::format("the rating \"{}\" is not a finite number", text.substr(0, 40)),
                               "Write numbers as 4 or 4.5, and leave out rows that have none"));
    return false;
  }

  const InteractionsConfig& config_;
  ProblemSink& sink_;
  EventTaker* taker_;
  bool keep_lines_, several_;
  TimeColumn times_;
  std::vector<WantedColumn> wanted_;
  std::size_t time_ = 0, kind_ = 0, rating_ = 0;  // in wanted_; 0: not wanted
  Vocabulary kinds_;                              // that count
  EventLog log_;
};

}  // namespace

TableOptions table_options(const InteractionsConfig& config, const std::string& path, const std::string& key) {
  return {.format = table_format(config.format, path),
          .columns = words_of(config.columns, " ,\t"),
          .separator = config.separator,
          .comment = config.comment,
          .path_key = key};
}

std::optional<double> finite_number(std::string_view text) {
  double out = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), out);
  return error == std::errc{} && end == text.data() + text.size() && std::isfinite(out) ? std::optional(out) : std::nullopt;
}

std::vector<std::string> listed(const std::string& text) {
  std::vector<std::string> out = words_of(text, ",");
  for (std::string& word : out) {
    const std::size_t begin = word.find_first_not_of(' '), end = word.find_last_not_of(' ');
    word = begin == std::string::npos ? "" : word.substr(begin, end - begin + 1);
  }
  std::erase(out, "");
  return out;
}

std::vector<std::string> column_names(const std::string& text) {
  return text.find(',') == std::string::npos ? words_of(text, " \t") : listed(text);
}

namespace {

/// data.columns is of a file that there is.
void check_columns(const InteractionsConfig& config) {
  const auto names_its_own = [&](const std::string& path) {
    const TableFormat format = path.empty() ? TableFormat::kHdf5 : table_format(config.format, path);
    return format == TableFormat::kJsonLines || format == TableFormat::kHdf5;
  };
  if (!config.columns.empty() && names_its_own(config.path) && names_its_own(config.validation_path) &&
      names_its_own(config.test_path))
    throw ConfigError(fmt::format("data.columns = \"{}\", but in {} each value has its name. Leave data.columns empty",
                                  config.columns, config.path));
}

}  // namespace

EventLog read_events(const InteractionsConfig& config, ProblemSink& sink, bool keep_lines, EventTaker* taker) {
  config.check();
  check_columns(config);
  EventReader reader(config, sink, keep_lines, taker);
  reader.read(config.path, "data.path", Part::kTrain);
  if (!config.validation_path.empty()) reader.read(config.validation_path, "data.validation_path", Part::kValidation);
  if (!config.test_path.empty()) reader.read(config.test_path, "data.test_path", Part::kTest);
  return reader.finish();
}

}  // namespace tradewind::runtime
