// The rows of a table of a shop, one after the other, plain or compressed: the columns that are wanted, by name.
//
//   csv        CSV and TSV (csv.h): the first line names the columns and tells the separator, unless these are given
//   jsonl      one object a line; a column is a key of it, an id a string or an integer
//   spaces     fields between blanks or tabs
//   sequences  the same, any number of fields a line: an id and what belongs to it
//   hdf5       a dataset of one dimension for each column (table_hdf5.h); a line is a row
//
// A name in a header may carry a type behind a colon, as RecBole's files do (user_id:token): the wanted name is with it or
// without. Memory is that of the longest row.
#pragma once

#include <cstdint>
#include <filesystem>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "runtime/data/byte_stream.h"
#include "runtime/data/problem.h"

namespace tradewind::runtime {

enum class TableFormat { kCsv, kJsonLines, kSpaces, kSequences, kHdf5 };

/// By the name without .gz, .zst or .xz: .csv, .tsv and .inter are CSV, .jsonl and .ndjson JSON lines, .h5 and .hdf5
/// HDF5. Throws ConfigError for others: what is within cannot be told. `key`: the config key that can say it, or the option
/// that named the file.
TableFormat table_format_of_name(const std::filesystem::path& file, const std::string& key = "data.format");
/// `name` is "auto", "csv", "jsonl", "spaces", "sequences" or "hdf5".
TableFormat table_format(const std::string& name, const std::filesystem::path& file);

struct TableOptions {
  TableFormat format = TableFormat::kCsv;
  std::vector<std::string> columns = {};  // of a file without a line that names them
  std::string separator = {};             // of csv; "": the first line tells
  std::string comment = {};               // lines that begin so are passed over; "": none
  std::string path_key = "data.path";     // config key, or option, that named the file, for messages
};

/// Between the values of an array of JSON in the field that it becomes.
inline constexpr char kListSeparator = '\x1f';

/// A column by the config key that names it, e.g. {"user", "data.user_key", true}, or by the option that it belongs to.
struct WantedColumn {
  std::string name, key;
  bool id = false;         // which in JSON is no number with a fraction
  bool attribute = false;  // which in JSON may be null, an empty field then, or an array of texts and numbers
};

/// What may be done where there is no such column, and there are these.
std::string column_repair(const WantedColumn& wanted, const std::vector<std::string>& columns);

class TableStream {
 public:
  /// Throws DataError: no such file, an empty one, UTF-16, a wanted column that is not there (with the columns that are, and
  /// what may be meant), a line that looks like data where the columns' names are expected.
  TableStream(const std::filesystem::path& file, const TableOptions& options, std::vector<WantedColumn> wanted);
  ~TableStream();

  /// The next row; false behind the last. Rows that are broken are told to `sink` and passed over: another number of fields
  /// than the header has, quotes out of place, no JSON object, a wanted key that is not there or is neither text nor number.
  /// Throws DataError where the archive is broken.
  bool next(ProblemSink& sink);
  /// Of the row: the field of wanted[i]. Holds until the next next().
  std::string_view operator[](std::size_t i) const { return fields_[places_[i]]; }
  /// All fields of the row, of jsonl those that are wanted.
  std::span<const std::string_view> fields() const { return fields_; }
  /// The place of wanted[i] in fields().
  std::size_t place(std::size_t i) const { return places_[i]; }
  /// Where the row begins, from 1.
  std::int64_t line() const { return line_; }
  /// A problem at field `place` of fields().
  DataProblem problem_at(std::size_t place, std::string kind, std::string what, std::string repair) const;
  /// A problem at the field of wanted[i].
  DataProblem problem(std::size_t i, std::string kind, std::string what, std::string repair) const {
    return problem_at(places_[i], std::move(kind), std::move(what), std::move(repair));
  }

  const std::string& name() const { return name_; }
  std::string compression() const { return stream_ == nullptr ? "" : stream_->compression(); }

 private:
  class JsonRow;
  class Hdf5Rows;
  bool fill();
  bool next_record();
  std::size_t record_length(std::string_view rest) const;
  bool split_record(ProblemSink& sink);
  bool split_csv(ProblemSink& sink);
  void split_blanks();
  bool read_json(ProblemSink& sink);
  void read_columns();
  std::size_t place_of(const WantedColumn& wanted) const;
  std::string header_hint() const;
  std::string separator_hint() const;
  void check_separator() const;
  bool csv() const { return options_.format == TableFormat::kCsv; }

  std::string name_;
  std::unique_ptr<ByteStream> stream_;  // null of HDF5
  TableOptions options_;
  std::vector<WantedColumn> wanted_;
  std::vector<std::string> columns_;
  std::vector<std::size_t> places_;  // of the wanted columns in fields_
  std::string separator_ = ",";

  std::string buffer_;
  std::size_t at_ = 0;  // of what is not given out yet in buffer_
  bool ended_ = false;  // all is in the buffer
  std::int64_t line_ = 0, next_line_ = 1;
  bool waiting_ = false;  // the first record is read and is a row

  std::string_view record_;  // the row, without its line break
  std::vector<std::string_view> fields_;
  std::vector<std::string> unquoted_;
  std::unique_ptr<JsonRow> json_;   // of JSON lines
  std::unique_ptr<Hdf5Rows> hdf5_;  // of HDF5
};

}  // namespace tradewind::runtime
