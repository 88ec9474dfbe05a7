// What an HDF5 file holds, for a person to look at.
#pragma once

#include <cstdint>
#include <filesystem>
#include <string>
#include <utility>
#include <vector>

namespace tradewind::runtime {

struct Hdf5Dataset {
  std::string name;  // "/blocks/0/attention/qkv/weight"
  std::string type;  // "float32", "int64", ...
  std::vector<std::int64_t> shape;
  std::int64_t bytes;
};

struct Hdf5Contents {
  std::vector<Hdf5Dataset> datasets;                            // by name
  std::vector<std::pair<std::string, std::string>> attributes;  // of the root, by name: value as text
};

/// Throws DataError where the file is missing or no HDF5. One thread of the process at a time.
Hdf5Contents list_hdf5(const std::filesystem::path& file);

}  // namespace tradewind::runtime
