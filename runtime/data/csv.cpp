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

/// Behind the closing quote of the field that opens at text[begin]; npos where it is not closed.
std::size_t behind_quotes(std::string_view text, std::size_t begin) {
  for (std::size_t at = begin + 1; (at = text.find('"', at)) != kNone; at += 2)
    if (at + 1 >= text.size() || text[at + 1] != '"') return at + 1;
  return kNone;
}

std::size_t count_of(std::string_view text, std::string_view part) {
  std::size_t count = 0;
  for (std::size_t at = 0; (at = text.find(part, at)) != kNone; at += part.size()) ++count;
  return count;
}

}  // namespace

bool csv_quotes(std::string_view separator) { return separator.size() == 1 && separator != "\t"; }

std::string csv_separator_name(std::string_view separator) {
  return separator == "\t" ? "a tab" : fmt::format("\"{}\"", separator);
}

std::string_view csv_separator(std::string_view header) {
  static constexpr std::string_view kSeparators = "\t;|,";  // where as many: that which is less likely within a name
  std::array<int, kSeparators.size()> counts{};
  bool quoted = false;
  for (const char c : header) {
    if (c == '"') quoted = !quoted;
    if (const std::size_t i = kSeparators.find(c); i != kNone && !quoted) ++counts[i];
  }
  const auto most = std::ranges::max_element(counts);
  if (*most == 0) return header.find("::") == kNone ? "," : "::";
  return kSeparators.substr(static_cast<std::size_t>(most - counts.begin()), 1);
}

std::string_view csv_likely_separator(std::string_view record, std::size_t fields) {
  constexpr std::array<std::string_view, 10> kUsual = {"::", "||", "\t", ";", "|", ",", "^", "~", "#", ":"};
  std::string_view best;
  std::size_t most = 0;
  for (const std::string_view separator : kUsual) {
    if (separator == ":" && record.find("::") != kNone) continue;
    const std::size_t count = count_of(record, separator);
    if (fields > 1 ? count + 1 == fields : count > most) best = separator, most = count;
    if (fields > 1 && !best.empty()) break;
  }
  return best;
}

std::size_t csv_record_length(std::string_view text, std::string_view separator, bool ended) {
  if (!csv_quotes(separator)) {
    const std::size_t newline = text.find('\n');
    return newline != kNone ? newline + 1 : ended ? text.size() : kNone;
  }
  std::size_t at = 0;
  while (true) {
    if (at < text.size() && text[at] == '"') {
      const std::size_t behind = behind_quotes(text, at);
      // A quote at the very end may be the first of two.
      if (behind == kNone || (behind == text.size() && !ended)) return ended ? text.size() : kNone;
      at = behind;
    }
    const char stops[] = {separator[0], '\n'};
    at = text.find_first_of(std::string_view(stops, 2), at);
    if (at == kNone) return ended ? text.size() : kNone;
    if (text[at++] == '\n') return at;
  }
}

void parse_csv_record(std::string_view record, std::string_view separator, std::vector<std::string>& fields) {
  if (record.ends_with('\n')) record.remove_suffix(1);
  if (record.ends_with('\r')) record.remove_suffix(1);
  std::size_t count = 0, at = 0;
  while (true) {
    if (count == fields.size()) fields.emplace_back();
    std::string& field = fields[count++];
    field.clear();
    if (csv_quotes(separator) && at < record.size() && record[at] == '"') {
      const std::size_t behind = behind_quotes(record, at);
      if (behind == kNone) throw CsvError{at, "the quote that opens here is not closed; a quote within a field is doubled"};
      for (std::size_t i = at + 1; i + 1 < behind; ++i) {
        field += record[i];
        if (record[i] == '"') ++i;
      }
      at = behind;
      if (at < record.size() && !record.substr(at).starts_with(separator))
        throw CsvError{at, fmt::format("{} is expected behind the closing quote; a quote within a field is doubled",
                                       csv_separator_name(separator))};
    } else {
      const std::size_t end = std::min(record.find(separator, at), record.size());
      field = record.substr(at, end - at);
      at = end;
    }
    if (at == record.size()) break;
    at += separator.size();
  }
  fields.resize(count);
}

std::size_t csv_field_offset(std::string_view record, std::string_view separator, std::size_t index) {
  std::size_t at = 0;
  for (; index > 0; --index) {
    if (csv_quotes(separator) && at < record.size() && record[at] == '"')
      at = std::min(behind_quotes(record, at), record.size());
    at = record.find(separator, at);
    if (at == kNone) return record.size();
    at += separator.size();
  }
  return at;
}

std::string csv_field_count_text(std::size_t fields, std::size_t columns, std::string_view separator) {
  return fmt::format("{} field{}, where the header names {} (separated by {})", fields, fields == 1 ? "" : "s", columns,
                     csv_separator_name(separator));
}

std::string csv_field_count_repair(std::string_view separator) {
  if (csv_quotes(separator)) return "Put a field that holds a separator or a line break in quotes";
  return separator == "\t" ? "A tab or a line break cannot be within a field; write it as a space"
                           : "A separator of several characters or a line break cannot be within a field";
}

CsvHeader::CsvHeader(const std::string& name, std::string_view record, std::int64_t line, std::string_view separator)
    : name_(name), separator_(separator.empty() ? csv_separator(record) : separator) {
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
      suggestion.empty() ? "." : suggestion, config_key, fmt::join(names, ", "), csv_separator_name(separator_), otherwise));
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
