// Tables in HDF5, as the tests of what reads them need them.
#pragma once

#include <hdf5.h>

#include <boost/test/unit_test.hpp>
#include <string>
#include <vector>

#include "tests/support/event_tables.h"

namespace tradewind::tests {

/// A file being written, a dataset after the other.
class Hdf5Table {
 public:
  explicit Hdf5Table(const std::string& name) : path_((table_folder().path() / name).string()) {
    file_ = H5Fcreate(path_.c_str(), H5F_ACC_TRUNC, H5P_DEFAULT, H5P_DEFAULT);
    BOOST_REQUIRE(file_ >= 0);
  }
  ~Hdf5Table() { close(); }
  Hdf5Table(const Hdf5Table&) = delete;
  Hdf5Table& operator=(const Hdf5Table&) = delete;

  std::string close() {
    if (file_ >= 0) H5Fclose(file_);
    file_ = -1;
    return path_;
  }
  /// `values` null: none is written, and the file has no room for them. `chunk` above 0: compressed, in chunks of so many rows.
  void write(const std::string& name, hid_t type, const void* values, std::vector<hsize_t> shape, hsize_t chunk = 0) const {
    const hid_t space = H5Screate_simple(static_cast<int>(shape.size()), shape.data(), nullptr);
    const hid_t links = H5Pcreate(H5P_LINK_CREATE), layout = H5Pcreate(H5P_DATASET_CREATE);
    H5Pset_create_intermediate_group(links, 1);
    if (chunk > 0) {
      BOOST_REQUIRE(H5Pset_chunk(layout, 1, &chunk) >= 0);
      BOOST_REQUIRE(H5Pset_deflate(layout, 1) >= 0);
    }
    const hid_t data = H5Dcreate2(file_, name.c_str(), type, space, links, layout, H5P_DEFAULT);
    if (values != nullptr) BOOST_REQUIRE(H5Dwrite(data, type, H5S_ALL, H5S_ALL, H5P_DEFAULT, values) >= 0);
    H5Dclose(data);
    H5Pclose(layout);
    H5Pclose(links);
    H5Sclose(space);
  }
  template <class Value>
  void numbers(const std::string& name, hid_t type, const std::vector<Value>& values) const {
    write(name, type, values.data(), {values.size()});
  }
  void long_texts(const std::string& name, const std::vector<std::string>& values) const {
    std::vector<const char*> pointers;
    for (const std::string& value : values) pointers.push_back(value.c_str());
    const hid_t type = H5Tcopy(H5T_C_S1);
    H5Tset_size(type, H5T_VARIABLE);
    write(name, type, pointers.data(), {values.size()});
    H5Tclose(type);
  }
  void texts(const std::string& name, const std::vector<std::string>& values, std::size_t size, H5T_str_t pad) const {
    std::string bytes;
    for (std::string value : values) {
      value.resize(size, pad == H5T_STR_SPACEPAD ? ' ' : '\0');
      bytes += value;
    }
    const hid_t type = H5Tcopy(H5T_C_S1);
    H5Tset_size(type, size);
    H5Tset_strpad(type, pad);
    write(name, type, bytes.data(), {values.size()});
    H5Tclose(type);
  }

 private:
  std::string path_;
  hid_t file_ = -1;
};

}  // namespace tradewind::tests
