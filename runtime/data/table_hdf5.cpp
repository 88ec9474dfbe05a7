#include "runtime/data/table_hdf5.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <type_traits>

#include "runtime/checkpoint/hdf5_driver.h"
#include "runtime/checkpoint/hdf5_list.h"
#include "runtime/config/config.h"

namespace tradewind::runtime {
namespace {

using detail::Handle;

constexpr hsize_t kRows = 1 << 16;                    // read at once
constexpr hsize_t kLongTexts = 512;                   // the same where a text's length is not known before
constexpr std::size_t kBytes = std::size_t{1} << 24;  // of a column's texts of one length, at once

/// A chunk is taken apart once, not for each read of some of its rows: so much of the file is kept.
Handle open_dataset(hid_t file, const std::string& name) {
  Handle data(H5Dopen2(file, name.c_str(), H5P_DEFAULT), H5Dclose);
  if (data.id() < 0) return data;
  const Handle creation(H5Dget_create_plist(data.id()), H5Pclose), type(H5Dget_type(data.id()), H5Tclose);
  hsize_t rows = 0;
  if (H5Pget_layout(creation.id()) != H5D_CHUNKED || H5Pget_chunk(creation.id(), 1, &rows) != 1) return data;
  const std::size_t bytes = rows * H5Tget_size(type.id());
  if (bytes <= (std::size_t{1} << 20)) return data;  // HDF5 keeps as much by itself
  const Handle access(H5Pcreate(H5P_DATASET_ACCESS), H5Pclose);
  H5Pset_chunk_cache(access.id(), H5D_CHUNK_CACHE_NSLOTS_DEFAULT, bytes, 1.0);
  data.close();  // while it is open, it stays as it was opened
  return {H5Dopen2(file, name.c_str(), access.id()), H5Dclose};
}

template <class Value>
std::vector<Value> read_numbers(hid_t dataset, hid_t type, hid_t memory, hid_t space, std::size_t count, bool& read) {
  std::vector<Value> values(count);
  read = H5Dread(dataset, type, memory, space, H5P_DEFAULT, values.data()) >= 0;
  return values;
}

/// `nothing`: what is no number is a field that is empty.
template <class Value>
void write_numbers(const std::vector<Value>& from, std::vector<std::string>& to, bool nothing = false) {
  std::ranges::transform(from, to.begin(), [&](Value value) {
    if constexpr (std::is_floating_point_v<Value>)
      if (nothing && std::isnan(value)) return std::string();
    return fmt::format("{}", value);
  });
}

}  // namespace

struct TableStream::Hdf5Rows::Column {
  Handle id;  // of the dataset, or of the file
  Handle type = {-1, H5Tclose};
  bool attribute = false;
  std::vector<std::string> values = {};

  /// So many that what they hold at once is not much.
  hsize_t rows_at_once() const {
    if (H5Tget_class(type.id()) != H5T_STRING) return kRows;
    if (H5Tis_variable_str(type.id()) > 0) return kLongTexts;
    return std::clamp<hsize_t>(kBytes / std::max<std::size_t>(H5Tget_size(type.id()), 1), 1, kRows);
  }

  /// Rows [begin, begin + count) into values. False where they cannot be read.
  bool read(hsize_t begin, hsize_t count) {
    const Handle space(H5Dget_space(id.id()), H5Sclose), memory(H5Screate_simple(1, &count, nullptr), H5Sclose);
    if (H5Sselect_hyperslab(space.id(), H5S_SELECT_SET, &begin, nullptr, &count, nullptr) < 0) return false;
    values.resize(count);
    bool done = false;
    if (H5Tget_class(type.id()) == H5T_FLOAT && H5Tget_size(type.id()) <= sizeof(float))  // 9.95 is no 9.949999809265137
      write_numbers(read_numbers<float>(id.id(), H5T_NATIVE_FLOAT, memory.id(), space.id(), count, done), values, attribute);
    else if (H5Tget_class(type.id()) == H5T_FLOAT)
      write_numbers(read_numbers<double>(id.id(), H5T_NATIVE_DOUBLE, memory.id(), space.id(), count, done), values, attribute);
    else if (H5Tget_class(type.id()) == H5T_INTEGER && H5Tget_sign(type.id()) == H5T_SGN_NONE)
      write_numbers(read_numbers<std::uint64_t>(id.id(), H5T_NATIVE_UINT64, memory.id(), space.id(), count, done), values);
    else if (H5Tget_class(type.id()) == H5T_INTEGER)
      write_numbers(read_numbers<std::int64_t>(id.id(), H5T_NATIVE_INT64, memory.id(), space.id(), count, done), values);
    else
      done = H5Tis_variable_str(type.id()) > 0 ? read_long_texts(memory.id(), space.id()) : read_texts(memory.id(), space.id());
    return done;
  }

 private:
  bool read_long_texts(hid_t memory, hid_t space) {
    std::vector<char*> texts(values.size());
    if (H5Dread(id.id(), type.id(), memory, space, H5P_DEFAULT, texts.data()) < 0) return false;
    std::ranges::transform(texts, values.begin(), [](const char* text) { return text == nullptr ? "" : text; });
    return H5Dvlen_reclaim(type.id(), memory, H5P_DEFAULT, texts.data()) >= 0;
  }
  bool read_texts(hid_t memory, hid_t space) {
    const std::size_t size = H5Tget_size(type.id());
    std::string bytes(size * values.size(), '\0');
    if (H5Dread(id.id(), type.id(), memory, space, H5P_DEFAULT, bytes.data()) < 0) return false;
    const char pad = H5Tget_strpad(type.id()) == H5T_STR_SPACEPAD ? ' ' : '\0';
    for (std::size_t i = 0; i < values.size(); ++i) {
      std::string_view text(bytes.data() + i * size, size);
      if (H5Tget_strpad(type.id()) == H5T_STR_NULLTERM) text = text.substr(0, text.find('\0'));
      values[i] = text.substr(0, text.find_last_not_of(pad) + 1);
    }
    return true;
  }
};

TableStream::Hdf5Rows::Hdf5Rows(const std::filesystem::path& file, const std::vector<WantedColumn>& wanted,
                                const std::string& path_key)
    : name_(file.string()) {
  const detail::QuietErrors quiet;
  ByteStream::open(file, path_key);  // says what is wrong where it cannot be opened
  file_ = std::make_unique<Column>(Column{.id = {H5Fopen(name_.c_str(), H5F_ACC_RDONLY, H5P_DEFAULT), H5Fclose}});
  const auto refuse = [&](const std::string& what) { throw DataError(fmt::format("{}: {}", name_, what)); };
  if (file_->id.id() < 0)
    refuse(fmt::format("it is no HDF5, or damaged, or being written ({}). Point {} at an HDF5 file, or set {}",
                       detail::hdf5_message(), path_key, path_key == "data.items" ? "data.items_format" : "data.format"));
  for (const WantedColumn& column : wanted) {
    Handle data = open_dataset(file_->id.id(), column.name);
    if (data.id() < 0) {
      std::vector<std::string> names;
      for (const Hdf5Dataset& dataset : list_hdf5(file).datasets) names.push_back(dataset.name.substr(1));
      refuse(fmt::format("no dataset \"{}\"{}. {}", column.name, suggestion_text(did_you_mean(column.name, names)),
                         column_repair(column, names)));
    }
    const Handle space(H5Dget_space(data.id()), H5Sclose);
    Handle type(H5Dget_type(data.id()), H5Tclose);
    const H5T_class_t kind = H5Tget_class(type.id());
    hsize_t rows = 0;
    if (H5Sget_simple_extent_ndims(space.id()) != 1 || H5Sget_simple_extent_dims(space.id(), &rows, nullptr) < 0)
      refuse(fmt::format("dataset \"{}\" has not one dimension. Write a column as one array, a value a row", column.name));
    if (kind != H5T_STRING && kind != H5T_INTEGER && kind != H5T_FLOAT)
      refuse(fmt::format("dataset \"{}\" is neither text nor numbers. Write it as one of these", column.name));
    if (kind == H5T_FLOAT && column.id)
      refuse(fmt::format("dataset \"{}\" has floating-point numbers, which are no ids. Write {} as integers or text",
                         column.name, column.key));
    if (!columns_.empty() && rows != rows_)
      refuse(fmt::format("dataset \"{}\" has {} rows, and \"{}\" has {}. Columns must have as many", column.name, rows,
                         wanted[0].name, rows_));
    rows_ = rows;
    columns_.push_back(
        std::make_unique<Column>(Column{.id = std::move(data), .type = std::move(type), .attribute = column.attribute}));
    at_once_ = std::min<std::uint64_t>(at_once_, columns_.back()->rows_at_once());
  }
}

TableStream::Hdf5Rows::~Hdf5Rows() {
  columns_.clear();  // before the file
}

void TableStream::Hdf5Rows::read_rows() {
  const detail::QuietErrors quiet;
  const hsize_t count = std::min<hsize_t>(at_once_, rows_ - read_);
  for (const auto& column : columns_)
    if (!column->read(read_, count))
      throw DataError(fmt::format("{}: rows from {} on cannot be read ({}). Fetch or write the file again", name_, read_ + 1,
                                  detail::hdf5_message()));
  read_ += count;
  at_ = 0;
}

bool TableStream::Hdf5Rows::next(std::vector<std::string_view>& fields) {
  if (columns_.empty()) return false;
  if (at_ == columns_[0]->values.size()) {
    if (read_ == rows_) return false;
    read_rows();
  }
  fields.clear();
  for (const auto& column : columns_) fields.push_back(column->values[at_]);
  ++at_;
  return true;
}

}  // namespace tradewind::runtime
