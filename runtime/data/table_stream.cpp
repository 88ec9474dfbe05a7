#include "runtime/data/table_stream.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <utility>

#include "runtime/config/config.h"
#include "runtime/data/csv.h"
#include "runtime/data/table_hdf5.h"
#include "runtime/data/table_json.h"
#include "runtime/text/utf8.h"

namespace tradewind::runtime {
namespace {

constexpr std::size_t kChunk = std::size_t{1} << 20;
constexpr std::size_t kLongestRow = std::size_t{1} << 28;
constexpr std::size_t kNone = std::string_view::npos;

bool is_blank(char c) { return c == ' ' || c == '\t'; }

std::string_view without_break(std::string_view record) {
  if (record.ends_with('\n')) record.remove_suffix(1);
  if (record.ends_with('\r')) record.remove_suffix(1);
  return record;
}

/// A number, a date: what no column is named.
bool is_value(std::string_view field) {
  return !field.empty() && field.find_first_not_of("0123456789.+-:/TZ ") == kNone && field.find_first_of("0123456789") != kNone;
}

/// Without the type that RecBole writes behind a colon.
std::string_view untyped(std::string_view column) { return column.substr(0, column.rfind(':')); }

}  // namespace

TableFormat table_format_of_name(const std::filesystem::path& file, const std::string& key) {
  std::filesystem::path name = file.filename();
  const std::string last = name.extension().string();
  if (last == ".gz" || last == ".zst" || last == ".xz") name = name.stem();
  const std::string kind = name.extension().string();
  if (kind == ".csv" || kind == ".tsv" || kind == ".inter") return TableFormat::kCsv;
  if (kind == ".jsonl" || kind == ".ndjson") return TableFormat::kJsonLines;
  if (kind == ".h5" || kind == ".hdf5") return TableFormat::kHdf5;
  if (key.starts_with("--"))
    throw ConfigError(fmt::format(
        "{} {}: the name does not tell what is in it. Name it .csv, .tsv, .jsonl or .h5, with .gz, .zst or .xz behind "
        "where it is compressed",
        key, file.string()));
  if (key != "data.format")
    throw ConfigError(
        fmt::format("the name of {} does not tell what is in it. Set {} to \"csv\" (also of tabs), \"jsonl\" or "
                    "\"hdf5\"",
                    file.string(), key));
  throw ConfigError(
      fmt::format("the name of {} does not tell what is in it. Set data.format to \"csv\" (also of tabs), "
                  "\"jsonl\", \"spaces\" (a row: user item) or \"sequences\" (a row: user item item ...); with :: or another "
                  "separator of its own it is \"csv\" with data.separator",
                  file.string()));
}

std::string column_repair(const WantedColumn& wanted, const std::vector<std::string>& columns) {
  const std::string all = fmt::format("{}", fmt::join(columns, ", "));
  return wanted.key.starts_with("--") ? fmt::format("Rename one of {}, or give {} another", all, wanted.key)
                                      : fmt::format("Set {} to one of: {}", wanted.key, all);
}

TableFormat table_format(const std::string& name, const std::filesystem::path& file) {
  if (name == "auto") return table_format_of_name(file);
  return name == "csv"      ? TableFormat::kCsv
         : name == "jsonl"  ? TableFormat::kJsonLines
         : name == "spaces" ? TableFormat::kSpaces
         : name == "hdf5"   ? TableFormat::kHdf5
                            : TableFormat::kSequences;
}

TableStream::TableStream(const std::filesystem::path& file, const TableOptions& options, std::vector<WantedColumn> wanted)
    : name_(file.string()), options_(options), wanted_(std::move(wanted)) {
  if (options_.format == TableFormat::kHdf5) {
    hdf5_ = std::make_unique<Hdf5Rows>(file, wanted_, options_.path_key);
    for (std::size_t i = 0; i < wanted_.size(); ++i) places_.push_back(i);
    return;
  }
  stream_ = ByteStream::open(file, options_.path_key);
  fill();
  check_text_beginning(name(), buffer_, options_.path_key);
  if (std::string_view(buffer_).starts_with(kByteOrderMark)) at_ = kByteOrderMark.size();
  if (options_.format == TableFormat::kJsonLines) {
    json_ = std::make_unique<JsonRow>(wanted_);
    for (std::size_t i = 0; i < wanted_.size(); ++i) places_.push_back(i);
  } else if (options_.format != TableFormat::kSequences) {
    read_columns();
    for (const WantedColumn& column : wanted_) places_.push_back(place_of(column));
  }
}

TableStream::~TableStream() = default;

/// Reads on; false where the file has ended.
bool TableStream::fill() {
  if (ended_) return false;
  buffer_.erase(0, std::exchange(at_, 0));
  const std::size_t kept = buffer_.size(), more = std::max(kChunk, kept);
  buffer_.resize(kept + more);
  const std::size_t got = stream_->read({buffer_.data() + kept, more});
  buffer_.resize(kept + got);
  ended_ = got < more;
  return true;
}

/// The length of the record that `line` begins, its first line; kNone where more must be read.
std::size_t TableStream::record_length(std::string_view line) const {
  if (!csv() || !csv_quotes(separator_) || line.find('"') == kNone) return line.size();
  const std::string_view rest = std::string_view(buffer_).substr(at_);
  return csv_record_length(rest, separator_, ended_ || rest.size() >= kLongestRow);
}

/// Finds the next record that is neither blank nor a comment, and its line.
bool TableStream::next_record() {
  while (true) {
    const std::string_view rest = std::string_view(buffer_).substr(at_);
    const std::size_t newline = rest.find('\n');
    if (newline == kNone && rest.size() >= kLongestRow)
      throw DataError(fmt::format("{}:{}: a line longer than {} MiB. Is {} a text of lines?", name(), next_line_,
                                  kLongestRow >> 20, options_.path_key));
    if (newline == kNone && fill()) continue;
    const std::string_view line = rest.substr(0, newline == kNone ? kNone : newline + 1);
    if (line.empty()) return false;
    const bool comment = !options_.comment.empty() && line.starts_with(options_.comment);
    if (comment || line.find_first_not_of(" \t\r\n") == kNone) {
      at_ += line.size();
      ++next_line_;
      continue;
    }
    if (csv() && columns_.empty()) separator_ = options_.separator.empty() ? csv_separator(line) : options_.separator;
    const std::size_t length = record_length(line);
    if (length == kNone && fill()) continue;
    const std::string_view record = rest.substr(0, length);
    record_ = without_break(record);
    line_ = next_line_;
    next_line_ += record.size() == line.size() ? 1 : std::ranges::count(record, '\n');
    at_ += record.size();
    return true;
  }
}

void TableStream::read_columns() {
  if (!next_record())
    throw DataError(fmt::format("{} holds only blank lines{}. Point {} at a table", name(),
                                options_.comment.empty() ? "" : " and comments", options_.path_key));
  check_separator();
  waiting_ = !options_.columns.empty();
  if (waiting_) {
    columns_ = options_.columns;
  } else if (csv()) {
    columns_ = CsvHeader(name(), record_, line_, separator_).columns();
  } else {
    split_blanks();
    columns_.assign(fields_.begin(), fields_.end());
  }
}

std::size_t TableStream::place_of(const WantedColumn& wanted) const {
  const auto exact = std::ranges::find(columns_, wanted.name);
  if (exact != columns_.end()) return static_cast<std::size_t>(exact - columns_.begin());
  const auto is_wanted = [&](std::string_view column) { return untyped(column) == wanted.name; };
  const auto typed = std::ranges::find_if(columns_, is_wanted);
  if (typed != columns_.end() && std::count_if(typed, columns_.end(), is_wanted) == 1)
    return static_cast<std::size_t>(typed - columns_.begin());
  std::vector<std::string> names;
  std::ranges::copy_if(columns_, std::back_inserter(names), [](const std::string& column) { return !column.empty(); });
  std::string near = did_you_mean(wanted.name, names);
  if (near.empty()) {
    std::vector<std::string> plain(names.size());
    std::ranges::transform(names, plain.begin(), [](const std::string& column) { return std::string(untyped(column)); });
    near = did_you_mean(wanted.name, plain);
  }
  const std::string what = fmt::format("no column \"{}\"{}", wanted.name, suggestion_text(near));
  const std::string repair = column_repair(wanted, names);
  if (!options_.columns.empty()) throw ConfigError(fmt::format("data.columns has {}. {}", what, repair));
  throw ProblemError({.kind = "no_column", .file = name(), .line = line_, .what = what, .repair = repair + header_hint()});
}

/// What else may be meant where a column is not in the header.
std::string TableStream::header_hint() const {
  if (std::ranges::any_of(columns_, is_value))
    return fmt::format(
        ". Line {} looks like data, not like names: where a file has no line of names, give those of its {} field{} in order, "
        "as in "
        "data.columns = \"user item time\"",
        line_, columns_.size(), columns_.size() == 1 ? "" : "s");
  if (const auto usual = csv_separator(record_); csv() && !options_.separator.empty() && usual != options_.separator)
    return fmt::format(". data.separator is {}; is it {}?", csv_separator_name(options_.separator), csv_separator_name(usual));
  if (csv() && columns_.size() == 1)
    return columns_[0].find_first_of(" \t") != std::string::npos
               ? ". No comma, tab, semicolon or bar is in line " + std::to_string(line_) +
                     "; with blanks between the fields set data.format = \"spaces\""
               : ". Comma, tab, semicolon, bar or :: separate fields; name another with data.separator";
  if (!csv()) return ". Fields are what stands between blanks; for a file with commas or :: set data.format = \"csv\"";
  return "";
}

/// The separator that would give a row as many fields as there are columns, where no header told that it is another.
std::string TableStream::separator_hint() const {
  if (options_.columns.empty() && options_.separator.empty()) return "";
  const std::string_view likely = csv_likely_separator(record_, columns_.size());
  if (likely.empty() || (csv() && likely == separator_)) return "";
  return fmt::format("; separated by {} it has {} fields, so set {}data.separator = \"{}\"", csv_separator_name(likely),
                     columns_.size(), csv() ? "" : "data.format = \"csv\" and ", likely == "\t" ? "\\t" : likely);
}

/// A separator that was given is in the first record.
void TableStream::check_separator() const {
  if (options_.separator.empty() || record_.find(options_.separator) != kNone) return;
  std::string_view likely = csv_likely_separator(record_, options_.columns.size());
  if (likely.empty()) likely = csv_likely_separator(record_);
  throw ProblemError({.kind = "separator",
                      .file = name(),
                      .line = line_,
                      .what = fmt::format("{} is not in the first row, and is said to separate its fields",
                                          csv_separator_name(options_.separator)),
                      .repair = likely.empty() ? std::string("Set data.separator to what stands between them")
                                               : fmt::format("Set data.separator = \"{}\"", likely == "\t" ? "\\t" : likely)});
}

void TableStream::split_blanks() {
  fields_.clear();
  for (std::size_t at = 0, size = record_.size(); at < size;) {
    while (at < size && is_blank(record_[at])) ++at;
    const std::size_t begin = at;
    while (at < size && !is_blank(record_[at])) ++at;
    if (at > begin) fields_.push_back(record_.substr(begin, at - begin));
  }
}

bool TableStream::split_csv(ProblemSink& sink) {
  fields_.clear();
  if (!csv_quotes(separator_) || record_.find('"') == kNone) {
    for (std::size_t at = 0; at != kNone;) {
      const std::size_t end = record_.find(separator_, at);
      fields_.push_back(record_.substr(at, end == kNone ? kNone : end - at));
      at = end == kNone ? kNone : end + separator_.size();
    }
  } else {
    try {
      parse_csv_record(record_, separator_, unquoted_);
    } catch (const CsvError& error) {
      const TextPosition at = position_of(record_, error.offset);
      sink.report({.kind = "quotes",
                   .file = name(),
                   .line = line_ + at.line - 1,
                   .column = at.column,
                   .what = error.what,
                   .repair = "Mend the quotes, or write the table anew with a program that doubles them"});
      return false;
    }
    fields_.assign(unquoted_.begin(), unquoted_.end());
  }
  if (fields_.size() == columns_.size()) return true;
  sink.report({.kind = "fields",
               .file = name(),
               .line = line_,
               .what = csv_field_count_text(fields_.size(), columns_.size(), separator_),
               .repair = csv_field_count_repair(separator_) + separator_hint()});
  return false;
}

/// Takes the record apart; false where that was not possible.
bool TableStream::split_record(ProblemSink& sink) {
  if (json_) return read_json(sink);
  if (csv()) return split_csv(sink);
  split_blanks();
  if (options_.format == TableFormat::kSequences || fields_.size() == columns_.size()) return true;
  sink.report({.kind = "fields",
               .file = name(),
               .line = line_,
               .what = fmt::format("{} field{} between blanks, where there are {} columns ({})", fields_.size(),
                                   fields_.size() == 1 ? "" : "s", columns_.size(), fmt::join(columns_, " ")),
               .repair = (options_.columns.empty() ? "Fields cannot hold blanks; use a CSV file for such"
                                                   : "Fields cannot hold blanks; is data.columns right?") +
                         separator_hint()});
  return false;
}

bool TableStream::read_json(ProblemSink& sink) {
  const auto refusal = json_->read(record_);
  if (refusal) {
    const std::int64_t column = refusal->offset == kNone ? 0 : position_of(record_, refusal->offset).column;
    sink.report({.kind = refusal->kind,
                 .file = name(),
                 .line = line_,
                 .column = column,
                 .what = refusal->what,
                 .repair = refusal->repair});
    return false;
  }
  const auto& values = json_->values();
  fields_.assign(values.begin(), values.end());
  return true;
}

bool TableStream::next(ProblemSink& sink) {
  if (hdf5_) return hdf5_->next(fields_) && ++line_ > 0;
  while (std::exchange(waiting_, false) || next_record())
    if (split_record(sink)) return true;
  return false;
}

DataProblem TableStream::problem_at(std::size_t place, std::string kind, std::string what, std::string repair) const {
  DataProblem problem{
      .kind = std::move(kind), .file = name(), .line = line_, .what = std::move(what), .repair = std::move(repair)};
  if (hdf5_) return problem;
  std::size_t offset = 0;
  if (json_)
    offset = json_->offset_of(record_, place);
  else if (csv())
    offset = csv_field_offset(record_, separator_, place);
  else
    offset = static_cast<std::size_t>(fields_[place].data() - record_.data());
  const TextPosition at = position_of(record_, offset);
  problem.line += at.line - 1;
  problem.column = at.column;
  return problem;
}

}  // namespace tradewind::runtime
