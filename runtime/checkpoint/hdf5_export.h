// Exporting tensors as one HDF5 file that h5py and h5dump read without us.
//
// /                                   attributes: those given, "format" = "tradewind", "format_version" = 1
// /blocks/0/attention/qkv/weight      dataset of the tensor "blocks.0.attention.qkv.weight": little-endian, contiguous
//
// A group per module along the dotted name, a dataset per tensor (a scalar one for rank 0). Attributes: a string is stored as
// itself, an integer as int64 (uint64 where it needs that), a real number as float64, anything else (objects, arrays, booleans,
// null) as its JSON text. Texts are variable-length UTF-8, so that h5py returns `str`; the text itself then lies in the file's
// heap, not in the object header, and the 64 KiB that an attribute may have do not bound it (a tokenizer's JSON has megabytes).
// The same input gives the same bytes: no times are stored.
#pragma once

#include <filesystem>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "runtime/core/tensor.h"

namespace tradewind::runtime {

constexpr int kHdf5FormatVersion = 1;

struct ExportTensor {
  std::string name;  // "blocks.0.attention.qkv.weight"; each part between the dots is a group, the last one the dataset
  Tensor data;       // on the host, float32, int32 or int64, or bfloat16, which is exported as float32 (exact)
};

/// Writes `to` whole or not at all: under a temporary name beside it, synced, opened again, every tensor and text compared bit
/// by bit, renamed, the directory synced. Any failure leaves what was there before and no temporary file (if the last step
/// fails, syncing the directory, then the new file is there, complete, and the message says so). A symbolic link is followed.
///
/// `attributes` is an object or null, without "format" and "format_version". Memory: a copy of the largest tensor.
/// Throws CheckpointError with file, tensor or attribute, HDF5's message and the remedy: a target that exists without
/// `overwrite`, no directory, no permission, no space, names that cannot be groups ("a..b", "a/b", both "a" and "a.b"), a
/// text that is not UTF-8 or holds a zero byte. InternalError: an undefined tensor, one on a device or of another type.
/// Calls the HDF5 library, which is not thread-safe: one thread of the process at a time.
void export_hdf5(const std::filesystem::path& to, const std::vector<ExportTensor>& tensors, const nlohmann::json& attributes,
                 bool overwrite);

}  // namespace tradewind::runtime
