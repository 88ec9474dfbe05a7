// Opening and verifying checkpoints; checkpoint_writer.cpp writes them.
#include "runtime/checkpoint/checkpoint.h"

#include <algorithm>
#include <charconv>
#include <span>
#include <system_error>

#include "kernels/base/error.h"
#include "runtime/checkpoint/manifest.h"
#include "runtime/checkpoint/safetensors.h"

namespace tradewind::runtime {
namespace fs = std::filesystem;
namespace {

constexpr std::string_view kPrefix = "step-";
constexpr const char* kRemedy = "; remove that directory (the checkpoint before it will be used), or restore it from a copy";

// What a slice of a chunk is a slice of.
struct Global {
  std::string name;
  std::vector<std::int64_t> shape;
  std::int64_t begin = 0;
};

std::map<std::string, Global> read_slices(const SafetensorsFile& chunk) {
  std::map<std::string, Global> out;
  const auto found = chunk.metadata().find("slices");
  if (found == chunk.metadata().end()) return out;
  const auto json = nlohmann::json::parse(found->second);
  for (const auto& [key, slice] : json.items())
    out[key] = {slice.at("name").get<std::string>(), slice.at("shape").get<std::vector<std::int64_t>>(),
                slice.at("begin").get<std::int64_t>()};
  return out;
}

// The step in "step-00000120"; nothing for another name.
std::optional<std::int64_t> step_of(const fs::path& directory) {
  const std::string name = directory.filename().string();
  if (!name.starts_with(kPrefix)) return std::nullopt;
  std::int64_t step = 0;
  const char *begin = name.data() + kPrefix.size(), *end = name.data() + name.size();
  const auto [stop, error] = std::from_chars(begin, end, step);
  if (error != std::errc{} || stop != end || step < 0) return std::nullopt;
  return step;
}

std::shared_ptr<const InputFile> open_file(const fs::path& path, const detail::ManifestFile& expected, Check check) {
  auto file = std::make_shared<const InputFile>(path);
  if (file->size() != expected.bytes)
    throw CheckpointError(expected.name + " has " + std::to_string(file->size()) + " bytes, the manifest says " +
                          std::to_string(expected.bytes));
  if (check == Check::kEverything && file->checksum() != expected.checksum)
    throw CheckpointError(expected.name + " is damaged: its checksum does not match");
  return file;
}

}  // namespace

void Checkpoint::add_chunk(std::shared_ptr<const InputFile> file) {
  const SafetensorsFile chunk(std::move(file));
  const auto slices = read_slices(chunk);
  for (const auto& [key, tensor] : chunk.entries()) {
    if (!tensor.dtype) throw CheckpointError(key + " has type " + tensor.type + ", which no checkpoint holds");
    const auto found = slices.find(key);
    const Global global = found == slices.end() ? Global{key, tensor.shape, 0} : found->second;
    const auto impossible = [](std::int64_t n) { return n < 0; };
    if (global.shape.size() > static_cast<std::size_t>(Shape::kMaxRank) || std::ranges::any_of(global.shape, impossible))
      throw CheckpointError(key + " has an impossible shape");
    const Shape shape{std::span<const std::int64_t>(global.shape)};
    if (global.begin < 0 || global.begin > shape.elements() - tensor.elements)
      throw CheckpointError(key + " lies outside its tensor " + shape.text());
    Entry& entry = entries_.try_emplace(global.name, Entry{shape, *tensor.dtype, {}}).first->second;
    if (!(entry.global_shape == shape)) throw CheckpointError(key + " is a slice of another shape than its fellows");
    if (entry.dtype != *tensor.dtype) throw CheckpointError(key + " is a slice of another type than its fellows");
    if (tensor.elements > 0)  // an empty slice has no place in the order
      entry.slices.push_back({chunk.file(), tensor.offset, global.begin, tensor.elements});
  }
}

/// Every element of every tensor is there, once.
void Checkpoint::check_slices() {
  for (auto& [name, entry] : entries_) {
    std::ranges::sort(entry.slices, {}, &Slice::begin);
    std::int64_t at = 0;
    for (const Slice& slice : entry.slices) {
      if (slice.begin < at)
        throw CheckpointError("two slices of tensor \"" + name + "\" overlap at element " + std::to_string(slice.begin));
      if (slice.begin > at) break;
      at += slice.count;
    }
    if (at < entry.global_shape.elements())
      throw CheckpointError("no slice of tensor \"" + name + "\" has its element " + std::to_string(at));
  }
}

Checkpoint Checkpoint::assemble(const fs::path& directory, const detail::Manifest& manifest, Check check) {
  Checkpoint out;
  out.directory_ = directory;
  out.step_ = manifest.step;
  out.world_size_ = manifest.world_size;
  for (const detail::ManifestFile& file : manifest.files) {
    if (file.name.find('/') != std::string::npos) throw CheckpointError("the manifest names a file elsewhere: " + file.name);
    // The state is small, and nothing else vouches for it.
    if (file.name == detail::kStateName)
      out.state_ = detail::parse_state(open_file(directory / file.name, file, Check::kEverything)->read_all());
    else
      out.add_chunk(open_file(directory / file.name, file, check));
  }
  out.check_slices();
  return out;
}

Checkpoint Checkpoint::open(const fs::path& directory, Check check) {
  const std::string doing = "opening the checkpoint " + directory.string() + ": ";
  try {
    if (!fs::is_directory(directory)) throw CheckpointError("there is no such directory");
    const fs::path manifest_path = directory / detail::kManifestName;
    if (!fs::exists(manifest_path)) throw CheckpointError("it has no manifest.json, so it was never finished");
    detail::Manifest manifest;
    try {
      manifest = detail::parse_manifest(InputFile(manifest_path).read_all());
    } catch (const detail::NewerFormat&) {
      throw;
    } catch (const CheckpointError& e) {
      throw CheckpointError(std::string("manifest.json is damaged: ") + e.what());
    }
    Checkpoint out = assemble(directory, manifest, check);
    if (manifest.version == 1) return out;
    if (manifest.tensors.size() != out.entries_.size())
      throw CheckpointError("the manifest lists " + std::to_string(manifest.tensors.size()) + " tensors, its files hold " +
                            std::to_string(out.entries_.size()));
    for (const auto& tensor : manifest.tensors) {
      const auto found = out.entries_.find(tensor.name);
      if (found == out.entries_.end() || tensor.dtype != kernels::name_of(found->second.dtype) ||
          !std::ranges::equal(tensor.shape, found->second.global_shape.sizes()))
        throw CheckpointError("tensor \"" + tensor.name + "\" is not what the manifest says");
    }
    return out;
  } catch (const detail::NewerFormat& e) {
    throw detail::NewerFormat(doing + e.what());
  } catch (const std::exception& e) {
    throw CheckpointError(doing + e.what() + kRemedy);
  }
}

std::vector<std::string> Checkpoint::names() const {
  std::vector<std::string> out;
  for (const auto& [name, entry] : entries_) out.push_back(name);
  return out;
}

bool Checkpoint::contains(const std::string& name) const { return entries_.contains(name); }

const Checkpoint::Entry& Checkpoint::entry(const std::string& name) const {
  const auto found = entries_.find(name);
  if (found == entries_.end())
    throw CheckpointError("reading the checkpoint " + directory_.string() + ": it has no tensor \"" + name +
                          "\"; use the config that it was trained with");
  return found->second;
}

Shape Checkpoint::shape(const std::string& name) const { return entry(name).global_shape; }
DType Checkpoint::dtype(const std::string& name) const { return entry(name).dtype; }

void Checkpoint::read(const std::string& name, std::int64_t begin, std::int64_t count, DType dtype, void* destination) const {
  const Entry& tensor = entry(name);
  const std::int64_t elements = tensor.global_shape.elements();
  const auto fail = [&](const std::string& what) {
    throw CheckpointError("reading the checkpoint " + directory_.string() + ": tensor \"" + name + "\" " + what);
  };
  if (begin < 0 || count < 0 || begin > elements - count)
    fail("has " + std::to_string(elements) + " elements, not " + std::to_string(count) + " from " + std::to_string(begin));
  if (tensor.dtype != dtype)
    fail(std::string("holds ") + kernels::name_of(tensor.dtype) + ", not " + kernels::name_of(dtype) +
         "; use the precision that it was trained with");
  auto* out = static_cast<std::byte*>(destination);
  const std::size_t size = kernels::size_of(dtype);
  const std::int64_t end = begin + count;
  for (const Slice& slice : tensor.slices) {
    const std::int64_t stop = std::min(end, slice.begin + slice.count);
    if (stop <= begin) continue;
    const auto bytes = static_cast<std::size_t>(stop - begin) * size;
    slice.file->read(slice.offset + static_cast<std::uint64_t>(begin - slice.begin) * size, out, bytes);
    out += bytes;
    begin = stop;
    if (begin == end) break;
  }
}

std::vector<fs::path> list_checkpoints(const fs::path& parent) {
  std::vector<std::pair<std::int64_t, fs::path>> found;
  std::error_code error;
  for (fs::directory_iterator it(parent, error), end; !error && it != end; it.increment(error)) {
    const auto step = step_of(it->path());
    std::error_code ignored;
    if (step && fs::exists(it->path() / detail::kManifestName, ignored)) found.emplace_back(*step, it->path());
  }
  if (error && error != std::errc::no_such_file_or_directory)
    throw CheckpointError("listing the checkpoints in " + parent.string() + ": " + error.message());
  std::ranges::sort(found);
  std::vector<fs::path> out;
  out.reserve(found.size());
  for (auto& [step, path] : found) out.push_back(std::move(path));
  return out;
}

std::optional<Checkpoint> open_newest_checkpoint(const fs::path& parent, const std::function<void(const std::string&)>& warn) {
  const auto all = list_checkpoints(parent);
  std::string first;
  for (auto it = all.rbegin(); it != all.rend(); ++it) {
    try {
      return Checkpoint::open(*it);
    } catch (const detail::NewerFormat&) {
      throw;
    } catch (const CheckpointError& e) {
      if (first.empty()) first = e.what();
      if (warn) warn(e.what());
    }
  }
  if (all.empty()) return std::nullopt;
  throw CheckpointError("none of the " + std::to_string(all.size()) + " checkpoints in " + parent.string() +
                        " can be read; restore one from a copy, or remove them to start anew. The newest: " + first);
}

}  // namespace tradewind::runtime
