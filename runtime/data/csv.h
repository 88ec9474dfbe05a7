// Comma- and tab-separated values as shops export them: RFC 4180 and what else is met.
//
// A record is a line of fields. With commas, semicolons or bars between them a field may stand in double quotes, within which
// separators and line breaks are text and a quote is doubled; elsewhere in a field a quote is a character like any other. With
// tabs (IANA text/tab-separated-values) and with separators of several characters, such as the :: of MovieLens, there is no
// quoting. Lines end in LF or CRLF; blank ones are skipped. The first record names the columns, and tells the separator.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace tradewind::runtime {

/// What separates the fields of a header: the most frequent of tab ; | and comma outside of quotes, the first of
/// these where two are; where there is none of them, :: or else a comma. A view of a literal.
std::string_view csv_separator(std::string_view header);

/// For hints: what cuts a record into `fields` fields, or with 0 whatever is there most often; "" where nothing usual does.
std::string_view csv_likely_separator(std::string_view record, std::size_t fields = 0);

/// Whether a field may stand in quotes.
bool csv_quotes(std::string_view separator);

/// For people: a tab, or the separator in quotes.
std::string csv_separator_name(std::string_view separator);

/// The length of the first record of `text`, its line break included; npos where the record goes on behind `text`. `ended`:
/// nothing comes behind `text`, so a last record needs no line break.
std::size_t csv_record_length(std::string_view text, std::string_view separator, bool ended);

/// Where in a record something is wrong: offset in bytes, and what, for people.
struct CsvError {
  std::size_t offset;
  std::string what;
};

/// The fields of a record (which may have its line break), in memory that stays. Throws CsvError: a quote that is not closed,
/// characters between a closing quote and the separator.
void parse_csv_record(std::string_view record, std::string_view separator, std::vector<std::string>& fields);

/// Where in a record the field `index` begins, in bytes; the record's end where it has no so many.
std::size_t csv_field_offset(std::string_view record, std::string_view separator, std::size_t index);

/// "3 fields, where the header names 4 (separated by a tab)"
std::string csv_field_count_text(std::size_t fields, std::size_t columns, std::string_view separator);
/// What to do about it, a sentence without its full stop.
std::string csv_field_count_repair(std::string_view separator);

/// The columns that a header names.
class CsvHeader {
 public:
  CsvHeader() = default;
  /// `record`: the first of file `name`, at `line`; `separator`: "" where it tells. Throws DataError: what parse_csv_record
  /// does, the same name twice.
  CsvHeader(const std::string& name, std::string_view record, std::int64_t line, std::string_view separator = {});

  std::string_view separator() const { return separator_; }
  const std::vector<std::string>& columns() const { return columns_; }
  /// Throws DataError naming the columns, the config key that asks for this one, and what else to do, where there is something.
  std::size_t find(const std::string& column, const std::string& config_key, const std::string& otherwise = {}) const;
  /// The fields of a record of the same file that begins at `line`. Throws DataError with file, line and column: as
  /// parse_csv_record, or more or fewer fields than the header has.
  void parse(std::string_view record, std::int64_t line, std::vector<std::string>& fields) const;

 private:
  std::string name_;
  std::string separator_ = ",";
  std::vector<std::string> columns_;
};

/// A field as it is written into a CSV: in quotes, doubled inside, where it holds a comma, a quote or a line break, or begins
/// or ends with a blank.
std::string csv_field(std::string_view text);

}  // namespace tradewind::runtime
