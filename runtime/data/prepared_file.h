// A prepared data set: the tokens of a text in one HDF5 file, which h5py and h5dump read too.
//
// /tokenizer            uint8: its JSON; of a text alone (of events: prepared_interactions.h)
// /description          uint8, JSON: how it was made, from which files, what it holds
// /training/tokens      uint16, or int32 where the vocabulary needs it: the stream of text_dataset.h, as it is
// /training/documents   int64: where in it each document begins (its end-of-text token; 0 for a whole text)
// /validation/...       the same of data.validation_path, where there is one
//
// Attributes of the root: "format" = "tradewind-prepared", "format_version" = "1", "summary". Data sets are contiguous,
// uncompressed and little-endian. The user block, the first 4096 bytes, holds in one line where each of them lies and its
// checksum:
//
//     tradewind-prepared 1 CHECKSUM {"arrays": [...], "bytes": ..., "rest": ...}
//
// So they are read with pread, from any thread, without HDF5's lock and without holding them in memory; and no damaged
// structure of the file gets to the HDF5 library, which does not survive all of them (a segmentation fault was seen after one
// bit changed).
#pragma once

#include <cstdint>
#include <filesystem>
#include <memory>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "runtime/data/token_source.h"

namespace tradewind::runtime {

inline constexpr int kPreparedVersion = 1;
inline constexpr const char* kPreparedFormat = "tradewind-prepared";
inline constexpr std::size_t kUserBlock = 4096;

/// One of its data sets.
struct PreparedArray {
  std::string name;  // "/training/tokens"
  int bytes_each;    // 1: uint8, 2: uint16, 4: int32, 8: int64
  std::int64_t count;
  std::uint64_t checksum;    // XXH3-64 of its bytes
  std::uint64_t offset = 0;  // in the file
  std::uint64_t bytes() const { return static_cast<std::uint64_t>(count) * static_cast<std::uint64_t>(bytes_each); }
};

/// Writes the file `path`, which must not exist, with `tokenizer` where it is not null, and `description` (which has a
/// "summary"), and room for `arrays`: sets their offsets, where the caller writes their bytes. Throws DataError. Calls the HDF5
/// library: from one thread of the process at a time.
void create_prepared(const std::filesystem::path& path, const nlohmann::json& tokenizer, const nlohmann::json& description,
                     std::vector<PreparedArray>& arrays);

/// XXH3-64 of what lies in none of `arrays`, from the user block to the file's end at `bytes`.
std::uint64_t checksum_of_rest(int descriptor, std::vector<PreparedArray> arrays, std::uint64_t bytes);

/// True where the file begins as one of ours, damaged or not.
bool is_prepared(const std::filesystem::path& path);

/// An open prepared file. What was opened stays readable when the file is renamed or removed.
class PreparedFile {
 public:
  /// Throws DataError naming the file: missing, none of ours, of a newer version, truncated, damaged. Reads every byte once to
  /// compare checksums.
  explicit PreparedFile(const std::filesystem::path& path);
  ~PreparedFile();
  PreparedFile(const PreparedFile&) = delete;
  PreparedFile& operator=(const PreparedFile&) = delete;

  const std::filesystem::path& path() const;
  const nlohmann::json& tokenizer() const { return tokenizer_; }
  const nlohmann::json& description() const { return description_; }
  const std::vector<PreparedArray>& arrays() const { return arrays_; }
  /// Null where there is no part of that name ("training", "validation").
  std::shared_ptr<const TokenSource> tokens(const std::string& part) const;

 private:
  class Descriptor;
  void read_user_block();
  void verify() const;
  nlohmann::json json_of(const std::string& name) const;

  std::shared_ptr<const Descriptor> file_;
  nlohmann::json tokenizer_, description_;
  std::vector<PreparedArray> arrays_;
  std::uint64_t bytes_ = 0, rest_ = 0;
};

}  // namespace tradewind::runtime
