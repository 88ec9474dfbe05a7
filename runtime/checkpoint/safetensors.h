// Files in safetensors form: ours, and those of Hugging Face.
//
//   uint64 little-endian: length N of the header; N bytes of JSON {name: {"dtype", "shape", "data_offsets": [begin, end]},
//   "__metadata__": {text: text}}, padded with spaces; the tensors' bytes, little-endian, row-major, offsets from their start
//
// Format: https://github.com/huggingface/safetensors. Read strictly: the tensors must cover the bytes without holes or overlap.
#pragma once

#include <cstdint>
#include <filesystem>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "kernels/base/dtype.h"
#include "runtime/checkpoint/files.h"

namespace tradewind::runtime {

class SafetensorsFile {
 public:
  struct Entry {
    std::string type;                     // as the file spells it: "F32", "BF16", "F16", "BOOL", ...
    std::optional<kernels::DType> dtype;  // nothing where we have no such type
    std::vector<std::int64_t> shape;      // any rank
    std::int64_t elements = 0;
    std::uint64_t offset = 0, bytes = 0;  // in the file
  };

  /// Reads and checks the header. Throws CheckpointError with the file, the tensor and what is wrong.
  explicit SafetensorsFile(std::shared_ptr<const InputFile> file);
  static SafetensorsFile open(const std::filesystem::path& path);

  const std::map<std::string, Entry>& entries() const { return entries_; }
  const std::map<std::string, std::string>& metadata() const { return metadata_; }
  /// Throws CheckpointError where there is no such tensor.
  const Entry& entry(const std::string& name) const;
  /// The whole tensor, entry(name).bytes.
  void read(const std::string& name, void* destination) const;
  const std::shared_ptr<const InputFile>& file() const { return file_; }

 private:
  [[noreturn]] void fail(const std::string& what) const;
  std::shared_ptr<const InputFile> file_;
  std::map<std::string, Entry> entries_;
  std::map<std::string, std::string> metadata_;
};

/// A tensor to be written. `data` is on the host.
struct SafetensorsTensor {
  std::string name;
  kernels::DType dtype;
  std::vector<std::int64_t> shape;
  const void* data;
};

/// Writes header and tensors; the caller finishes the file. Wide types come first, so that all are aligned to their size.
/// Throws CheckpointError where the disk is full, InternalError for two tensors of one name.
void write_safetensors(DurableFile& file, const std::vector<SafetensorsTensor>& tensors,
                       const std::map<std::string, std::string>& metadata);

}  // namespace tradewind::runtime
