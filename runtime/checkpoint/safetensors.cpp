#include "runtime/checkpoint/safetensors.h"

#include <algorithm>
#include <bit>
#include <cstring>
#include <limits>
#include <nlohmann/json.hpp>
#include <set>

#include "kernels/base/error.h"

namespace tradewind::runtime {
namespace {

using kernels::DType;
static_assert(std::endian::native == std::endian::little, "tensors are written as they lie in memory");

struct Type {
  const char* name;
  std::uint64_t bytes;
  std::optional<DType> dtype;
};
const Type kTypes[] = {
    {"F32", 4, DType::kFloat32},
    {"BF16", 2, DType::kBFloat16},
    {"F64", 8, DType::kFloat64},
    {"I32", 4, DType::kInt32},
    {"I64", 8, DType::kInt64},
    {"U64", 8, DType::kUInt64},
    {"U8", 1, DType::kUInt8},
    {"F16", 2, {}},
    {"BOOL", 1, {}},
    {"I8", 1, {}},
    {"I16", 2, {}},
    {"U16", 2, {}},
    {"U32", 4, {}},
    {"F8_E4M3", 1, {}},
    {"F8_E5M2", 1, {}},
};

constexpr std::uint64_t kMostHeader = 100'000'000;  // the format's own limit
constexpr std::size_t kLength = sizeof(std::uint64_t);
constexpr std::size_t kAlignment = 64;  // of the first tensor in the file

const char* type_of(DType dtype) {
  for (const Type& type : kTypes)
    if (type.dtype == dtype) return type.name;
  throw InternalError(std::string("write_safetensors: no name for ") + kernels::name_of(dtype));
}

std::optional<std::uint64_t> as_size(const nlohmann::json& value) {
  if (!value.is_number_unsigned()) return std::nullopt;
  return value.get<std::uint64_t>();
}

// What is wrong goes to `error`. Names appear once: nlohmann alone would keep the last silently.
nlohmann::json parse_header(const std::string& text, std::string& error) {
  std::set<std::string> names;
  try {
    return nlohmann::json::parse(text, [&](int depth, nlohmann::json::parse_event_t event, nlohmann::json& value) {
      if (event == nlohmann::json::parse_event_t::key && depth == 1 && !names.insert(value.get<std::string>()).second)
        error = "names tensor \"" + value.get<std::string>() + "\" twice";
      return true;
    });
  } catch (const nlohmann::json::exception& e) {
    error = std::string("has a header that is no JSON: ") + e.what();
    return {};
  }
}

}  // namespace

SafetensorsFile SafetensorsFile::open(const std::filesystem::path& path) {
  return SafetensorsFile(std::make_shared<const InputFile>(path));
}

void SafetensorsFile::fail(const std::string& what) const {
  throw CheckpointError("reading " + file_->path().string() + ": the file " + what +
                        "; it is damaged or no safetensors file, fetch or write it again");
}

SafetensorsFile::SafetensorsFile(std::shared_ptr<const InputFile> file) : file_(std::move(file)) {
  std::uint64_t length = 0;
  if (file_->size() < kLength) fail("has " + std::to_string(file_->size()) + " bytes, fewer than its header");
  file_->read(0, &length, kLength);
  if (length > kMostHeader || length > file_->size() - kLength)
    fail("says that its header has " + std::to_string(length) + " bytes; it may have " +
         std::to_string(std::min(kMostHeader, file_->size() - kLength)));
  std::string text(length, '\0');
  file_->read(kLength, text.data(), length);
  if (!text.starts_with('{')) fail("has a header that does not begin with '{'");
  std::string error;
  const auto header = parse_header(text, error);
  if (!error.empty()) fail(error);
  if (!header.is_object()) fail("has a header that is no JSON object");

  const std::uint64_t start = kLength + length, data = file_->size() - start;
  std::vector<std::pair<std::uint64_t, std::uint64_t>> ranges;
  for (const auto& [name, value] : header.items()) {
    if (name == "__metadata__") {
      if (!value.is_object()) fail("has metadata that is no JSON object");
      for (const auto& [key, item] : value.items()) {
        if (!item.is_string()) fail("has metadata \"" + key + "\" that is no text");
        metadata_[key] = item.get<std::string>();
      }
      continue;
    }
    const std::string which = "tensor \"" + name + "\"";
    if (!value.is_object() || value.size() != 3 || !value.contains("dtype") || !value.contains("shape") ||
        !value.contains("data_offsets"))
      fail("describes " + which + " by something else than dtype, shape and data_offsets");
    const auto &type = value["dtype"], &shape = value["shape"], &offsets = value["data_offsets"];
    if (!type.is_string() || !shape.is_array() || !offsets.is_array() || offsets.size() != 2)
      fail("has a malformed dtype, shape or data_offsets of " + which);
    Entry entry{.type = type.get<std::string>(), .dtype = {}, .shape = {}};
    const auto* known = std::ranges::find_if(kTypes, [&](const Type& t) { return entry.type == t.name; });
    if (known == std::end(kTypes)) fail("has " + which + " of type " + entry.type + ", which this version does not know");
    entry.dtype = known->dtype;
    std::uint64_t bytes = known->bytes;
    for (const auto& size : shape) {
      const auto n = as_size(size);
      if (!n || *n > static_cast<std::uint64_t>(std::numeric_limits<std::int64_t>::max()) ||
          (*n != 0 && bytes > std::numeric_limits<std::uint64_t>::max() / *n))
        fail("has an impossible shape of " + which + ": " + shape.dump());
      bytes *= *n;
      entry.shape.push_back(static_cast<std::int64_t>(*n));
    }
    const auto begin = as_size(offsets[0]), end = as_size(offsets[1]);
    if (!begin || !end || *begin > *end || *end > data)
      fail("has " + which + " at " + offsets.dump() + ", outside its " + std::to_string(data) + " bytes of data");
    if (*end - *begin != bytes)
      fail("has " + std::to_string(*end - *begin) + " bytes for " + which + ", whose type and shape need " +
           std::to_string(bytes));
    entry.elements = static_cast<std::int64_t>(bytes / known->bytes);
    entry.offset = start + *begin;
    entry.bytes = bytes;
    ranges.emplace_back(*begin, *end);
    entries_.emplace(name, std::move(entry));
  }
  std::ranges::sort(ranges);
  std::uint64_t at = 0;
  for (const auto& [begin, end] : ranges) {
    if (begin != at)
      fail(std::string("has tensors that ") + (begin < at ? "overlap" : "leave a hole") + " at byte " + std::to_string(begin));
    at = end;
  }
  if (at != data) fail("has " + std::to_string(data - at) + " bytes after its last tensor");
}

const SafetensorsFile::Entry& SafetensorsFile::entry(const std::string& name) const {
  const auto found = entries_.find(name);
  if (found == entries_.end())
    throw CheckpointError("reading " + file_->path().string() + ": there is no tensor \"" + name + "\"");
  return found->second;
}

void SafetensorsFile::read(const std::string& name, void* destination) const {
  const Entry& e = entry(name);
  file_->read(e.offset, destination, e.bytes);
}

void write_safetensors(DurableFile& file, const std::vector<SafetensorsTensor>& tensors,
                       const std::map<std::string, std::string>& metadata) {
  std::vector<const SafetensorsTensor*> order;
  for (const auto& tensor : tensors) order.push_back(&tensor);
  std::ranges::stable_sort(order, [](auto* a, auto* b) { return kernels::size_of(a->dtype) > kernels::size_of(b->dtype); });
  const auto bytes_of = [](const SafetensorsTensor& tensor) {
    std::uint64_t bytes = kernels::size_of(tensor.dtype);
    for (const std::int64_t n : tensor.shape) bytes *= static_cast<std::uint64_t>(n);
    return bytes;
  };
  nlohmann::json header = nlohmann::json::object();
  if (!metadata.empty()) header["__metadata__"] = metadata;
  std::uint64_t at = 0;
  for (const auto* tensor : order) {
    if (header.contains(tensor->name)) throw InternalError("write_safetensors: two tensors \"" + tensor->name + "\"");
    const std::uint64_t end = at + bytes_of(*tensor);
    header[tensor->name] = {{"dtype", type_of(tensor->dtype)}, {"shape", tensor->shape}, {"data_offsets", {at, end}}};
    at = end;
  }
  std::string text;
  try {
    text = header.dump();
  } catch (const nlohmann::json::exception& e) {
    throw CheckpointError(std::string("a tensor's name or metadata is not UTF-8: ") + e.what());
  }
  text.resize((kLength + text.size() + kAlignment - 1) / kAlignment * kAlignment - kLength, ' ');
  const std::uint64_t length = text.size();
  file.write(&length, kLength);
  file.write(text.data(), text.size());
  for (const auto* tensor : order) file.write(tensor->data, bytes_of(*tensor));
}

}  // namespace tradewind::runtime
