// A table in HDF5: a dataset of one dimension for each column, all of one length, of text, integers or floating-point numbers.
//
// Held in memory are of each column 65,536 numbers, 16 MiB of texts of one length, or 512 others, and of one that is in chunks
// a chunk. HDF5 1.10 does not survive every damaged file: of 250 with up to three bits changed, six ended the process in its
// heap of texts of any length (H5HG_read).
#pragma once

#include <cstdint>
#include <filesystem>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "runtime/data/table_stream.h"

namespace tradewind::runtime {

class TableStream::Hdf5Rows {
 public:
  /// A column's name is a dataset's, as "user" or "events/user". Throws DataError: no such file, no HDF5, a dataset that is not
  /// there (with those that are), of another shape, type or length, an id of floating-point numbers.
  Hdf5Rows(const std::filesystem::path& file, const std::vector<WantedColumn>& wanted, const std::string& path_key);
  ~Hdf5Rows();

  /// The wanted values of the next row, numbers in the fewest digits that give them again; NaN of an attribute is an empty
  /// field. False behind the last.
  bool next(std::vector<std::string_view>& fields);

 private:
  struct Column;
  void read_rows();

  std::string name_;
  std::unique_ptr<Column> file_;  // holds the file open
  std::vector<std::unique_ptr<Column>> columns_;
  std::uint64_t rows_ = 0, read_ = 0;  // of the file; those before the end of the columns' values
  std::uint64_t at_once_ = ~std::uint64_t{0};
  std::size_t at_ = 0;  // of the next row in the columns' values
};

}  // namespace tradewind::runtime
