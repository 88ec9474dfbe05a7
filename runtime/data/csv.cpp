#include "runtime/data/csv.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <array>
#include <iterator>

#include "kernels/base/error.h"
#include "runtime/config/config.h"
#include "runtime/text/utf8.h"

namespace tradewind::runtime {
namespace {

constexpr std::size_t kNone = std::string_view::npos;

bool quotes(char separator) { return separator != '\t'; }

/// Behind the closing quote of the field that opens at text[begin]; npos where it is not closed.
std::size_t behind_quotes(std::string_view text, std::size_t begin) {
  for (std::size_t at = begin + 1; (at = text.find('"', at)) != kNone; at += 2)
    if (at + 1 >= text.size() || text[at + 1] != '"') return at + 1;
  return kNone;
}

std::string separator_name(char separator) { return separator == '\t' ? "a tab" : fmt::format("\"{}\"", separator); }

}  // namespace

char csv_separator(std::string_view header) {
  constexpr std::string_view kSeparators = "\t;|,";  // where as many: that which is less likely within a name
  std::array<int, kSeparators.size()> counts{};
  bool quoted = false;
  for (const char c : header) {
    if (c == '"') quoted = !quoted;
    if (const std::size_t i = kSeparators.find(c); i != kNone && !quoted) ++counts[i];
  }
  const auto most = std::ranges::max_element(counts);
  return *most == 0 ? ',' : kSeparators[static_cast<std::size_t>(most - counts.begin())];
}

std::size_t csv_record_length(std::string_view text, char separator, bool ended) {
  std::size_t at = 0;
  while (true) {
    if (quotes(separator) && at < text.size() && text[at] == '"') {
      const std::size_t behind = behind_quotes(text, at);
      // A quote at the very end may be the first of two.
      if (behind == kNone || (behind == text.size() && !ended)) return ended ? text.size() : kNone;
      at = behind;
    }
    const char stops[] = {separator, '\n'};
    at = text.find_first_of(std::string_view(stops, 2), at);
    if (at == kNone) return ended ? text.size() : kNone;
    if (text[at++] == '\n') return at;
  }
}

void parse_csv_record(std::string_view record, char separator, std::vector<std::string>& fields) {
  if (record.ends_with('\n')) record.remove_suffix(1);
  if (record.ends_with('\r')) record.remove_suffix(1);
  std::size_t count = 0, at = 0;
  while (true) {
    if (count == fields.size()) fields.emplace_back();
    std::string& field = fields[count++];
    field.clear();
    if (quotes(separator) && at < record.size() && record[at] == '"') {
      const std::size_t behind = behind_quotes(record, at);
      if (behind == kNone) throw CsvError{at, "the quote that opens here is not closed; a quote within a field is doubled"};
      for (std::size_t i = at + 1; i + 1 < behind; ++i) {
        field += record[i];
        if (record[i] == '"') ++i;
      }
      at = behind;
      if (at < record.size() && record[at] != separator)
        throw CsvError{at, fmt::format("{} is expected behind the closing quote; a quote within a field is doubled",
                                       separator_name(separator))};
    } else {
      const std::size_t end = std::min(record.find(separator, at), record.size());
      field = record.substr(at, end - at);
      at = end;
    }
    if (at++ == record.size()) break;
  }
  fields.resize(count);
}

std::size_t csv_field_offset(std::string_view record, char separator, std::size_t index) {
  std::size_t at = 0;
  for (; index > 0; --index) {
    if (quotes(separator) && at < record.size() && record[at] == '"') at = std::min(behind_quotes(record, at), record.size());
    at = record.find(separator, at);
    if (at++ == kNone) return record.size();
  }
  return at;
}

std::string csv_field_count_text(std::size_t fields, std::size_t columns, char separator) {
  return fmt::format("{} field{}, where the header names {} (separated by {})", fields, fields == 1 ? "" : "s", columns,
                     separator_name(separator));
}

std::string csv_field_count_repair(char separator) {
  return quotes(separator) ? "Put a field that holds a separator or a line break in quotes"
                           : "A tab or a line break cannot be within a field; write it as a space";
}

CsvHeader::CsvHeader(const std::string& name, std::string_view record, std::int64_t line)
    : name_(name), separator_(csv_separator(record)) {
  try {
    parse_csv_record(record, separator_, columns_);
  } catch (const CsvError& error) {
    throw DataError(fmt::format("{}:{}:{}: in the header, {}", name, line, error.offset + 1, error.what));
  }
  for (std::size_t i = 0; i < columns_.size(); ++i) {
    if (columns_[i].empty()) continue;  // as of a table's row numbers
    if (std::find(columns_.begin(), columns_.begin() + static_cast<std::ptrdiff_t>(i), columns_[i]) !=
        columns_.begin() + static_cast<std::ptrdiff_t>(i))
      throw DataError(fmt::format("{}:{}: two columns are named \"{}\". Rename one", name, line, columns_[i]));
  }
}

std::size_t CsvHeader::find(const std::string& column, const std::string& config_key, const std::string& otherwise) const {
  const auto at = std::ranges::find(columns_, column);
  if (at != columns_.end() && !column.empty()) return static_cast<std::size_t>(at - columns_.begin());
  std::vector<std::string> names;
  std::ranges::copy_if(columns_, std::back_inserter(names), [](const std::string& name) { return !name.empty(); });
  const std::string suggestion = suggestion_text(did_you_mean(column, names));
  throw DataError(fmt::format(
      "{}:1: no column \"{}\"{} Set {} to one of: {} (separated by {}; the first line must name the columns){}", name_, column,
      suggestion.empty() ? "." : suggestion, config_key, fmt::join(names, ", "), separator_name(separator_), otherwise));
}

void CsvHeader::parse(std::string_view record, std::int64_t line, std::vector<std::string>& fields) const {
  try {
    parse_csv_record(record, separator_, fields);
  } catch (const CsvError& error) {
    const TextPosition at = position_of(record, error.offset);
    throw DataError(fmt::format("{}:{}:{}: {}", name_, line + at.line - 1, at.column, error.what));
  }
  if (fields.size() != columns_.size())
    throw DataError(fmt::format("{}:{}: {}. {}", name_, line, csv_field_count_text(fields.size(), columns_.size(), separator_),
                                csv_field_count_repair(separator_)));
}

std::string csv_field(std::string_view text) {
  const bool blank = !text.empty() && (text.front() == ' ' || text.back() == ' ');
  if (!blank && text.find_first_of(",;|\t\"\r\n") == std::string_view::npos) return std::string(text);
  std::string out = "\"";
  for (const char c : text) {
    if (c == '"') out += '"';
    out += c;
  }
  return out + '"';
}

}  // namespace tradewind::runtime
