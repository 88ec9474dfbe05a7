// Writing checkpoints, at once or in the background. The order in which a checkpoint comes into being: chunk, state, manifest,
// each synced; the directory; one rename; its parent. See checkpoint.h for the form.
#include <fmt/format.h>

#include <algorithm>
#include <cstdio>
#include <cstring>
#include <future>
#include <mutex>
#include <utility>

#include "kernels/base/error.h"
#include "runtime/checkpoint/checkpoint.h"
#include "runtime/checkpoint/manifest.h"
#include "runtime/checkpoint/safetensors.h"

namespace tradewind::runtime {
namespace fs = std::filesystem;
namespace {

constexpr const char* kChunk = "chunk-00000-of-00001.safetensors";

// What is written: plain descriptions and text, which the worker may own without touching anybody's tensors.
struct Snapshot {
  std::int64_t step = 0;
  std::vector<SafetensorsTensor> tensors;
  std::map<std::string, std::string> metadata;
  std::string state;
  std::uint64_t bytes() const {
    std::uint64_t sum = state.size() + (std::uint64_t{1} << 16);  // headers and manifest
    for (const auto& t : tensors) {
      std::uint64_t count = 1;
      for (const std::int64_t n : t.shape) count *= static_cast<std::uint64_t>(n);
      sum += count * kernels::size_of(t.dtype) + 2 * t.name.size() + 256;
    }
    return sum;
  }
};

std::vector<std::int64_t> sizes_of(const Shape& shape) { return {shape.sizes().begin(), shape.sizes().end()}; }

Snapshot describe(const CheckpointContents& contents) {
  Snapshot out{.step = contents.step, .tensors = {}, .metadata = {}, .state = detail::state_text(contents.state)};
  require(contents.step >= 0, "saving a checkpoint", "a negative step");
  nlohmann::json slices = nlohmann::json::object();
  for (const CheckpointTensor& t : contents.tensors) {
    require(t.data.defined() && t.data.device().type == DeviceType::kCpu, "saving a checkpoint", "a tensor is not on the host");
    const std::int64_t count = t.data.elements(), whole = t.global_shape.elements();
    require(t.begin >= 0 && t.begin <= whole - count, "saving a checkpoint", "a slice lies outside its tensor");
    if (count == whole) {
      out.tensors.push_back({t.name, t.data.dtype(), sizes_of(t.global_shape), t.data.raw()});
      continue;
    }
    const std::string key = fmt::format("{}[{}:{}]", t.name, t.begin, t.begin + count);
    out.tensors.push_back({key, t.data.dtype(), {count}, t.data.raw()});
    slices[key] = {{"name", t.name}, {"shape", sizes_of(t.global_shape)}, {"begin", t.begin}};
  }
  out.metadata["format"] = "pt";  // transformers refuses a file that does not say so
  if (!slices.empty()) out.metadata["slices"] = slices.dump();
  return out;
}

// The files in `directory`, synced.
void write_files(const fs::path& directory, const Snapshot& snapshot) {
  detail::Manifest manifest{.step = snapshot.step, .files = {}};
  const auto add = [&](const char* name, const auto& fill) {
    DurableFile file(directory / name);
    fill(file);
    file.finish();
    manifest.files.push_back({name, file.bytes(), file.checksum()});
  };
  add(kChunk, [&](DurableFile& file) { write_safetensors(file, snapshot.tensors, snapshot.metadata); });
  add(detail::kStateName, [&](DurableFile& file) { file.write(snapshot.state.data(), snapshot.state.size()); });
  const std::string text = detail::manifest_text(manifest);
  DurableFile file(directory / detail::kManifestName);
  file.write(text.data(), text.size());
  file.finish();
  sync_directory(directory);
}

void write_snapshot(const fs::path& parent, const Snapshot& snapshot) {
  const fs::path target = parent / fmt::format("step-{:08}", snapshot.step), unfinished = leftover_name(target);
  try {
    make_directories_durably(parent);
    remove_leftovers(parent);
    require_free_space(parent, snapshot.bytes());
    make_directories_durably(unfinished);
    write_files(unfinished, snapshot);
    put_directory(unfinished, target);
  } catch (const InternalError&) {
    throw;
  } catch (const std::exception& e) {
    std::error_code ignored;
    fs::remove_all(unfinished, ignored);
    throw CheckpointError(
        fmt::format("saving the checkpoint of step {} ({} bytes needed) in {}: {}; earlier checkpoints are as "
                    "they were: make room or choose another run.directory, and run the same command again",
                    snapshot.step, snapshot.bytes(), parent.string(), e.what()));
  }
}

// Keeps the newest `keep_last` up to `step`, the pinned one, and whatever is later than `step`.
void remove_old(const fs::path& parent, std::int64_t step, std::int64_t keep_last, std::int64_t pinned) {
  const auto name_of_step = [](std::int64_t n) { return fmt::format("step-{:08}", n); };
  std::vector<fs::path> up_to;  // oldest first
  for (const fs::path& directory : list_checkpoints(parent)) {
    up_to.push_back(directory);
    if (directory.filename() == name_of_step(step)) break;
  }
  const auto excess = static_cast<std::int64_t>(up_to.size()) - keep_last;
  for (std::int64_t i = 0; i < excess; ++i)
    if (const fs::path& old = up_to[static_cast<std::size_t>(i)]; pinned < 0 || old.filename() != name_of_step(pinned))
      remove_directory(old);
}

}  // namespace

void write_checkpoint(const fs::path& parent, const CheckpointContents& contents) {
  write_snapshot(parent, describe(contents));
}

struct CheckpointWriter::Impl {
  fs::path parent;
  std::int64_t keep_last;
  std::mutex mutex;           // of pinned
  std::int64_t pinned = -1;   // none
  Tensor copy;                // uint8, reused by every save
  std::future<void> pending;  // the save under way, or its failure

  void write(const Snapshot& snapshot) {
    write_snapshot(parent, snapshot);
    std::int64_t keep = -1;
    {
      const std::lock_guard lock(mutex);
      keep = pinned;
    }
    remove_old(parent, snapshot.step, keep_last, keep);
  }
};

CheckpointWriter::CheckpointWriter(fs::path parent, std::int64_t keep_last) : impl_(std::make_unique<Impl>()) {
  require(keep_last >= 1, "CheckpointWriter", "keep_last must be 1 or more");
  impl_->parent = std::move(parent);
  impl_->keep_last = keep_last;
}

CheckpointWriter::~CheckpointWriter() {
  try {
    wait();
  } catch (const std::exception& e) {
    std::fprintf(stderr, "error: %s\n", e.what());
  }
}

void CheckpointWriter::save(const CheckpointContents& contents) {
  wait();
  Snapshot snapshot = describe(contents);
  std::size_t bytes = 0;
  for (const CheckpointTensor& t : contents.tensors) bytes += t.data.bytes();
  Tensor& copy = impl_->copy;
  if (!copy.defined() || copy.bytes() < bytes) {
    copy = {};  // first given back: two copies never live at once
    copy = Tensor(host_allocator(), {static_cast<std::int64_t>(bytes)}, DType::kUInt8);
  }
  std::size_t at = 0;
  auto* base = static_cast<std::byte*>(copy.raw());
  for (std::size_t i = 0; i < contents.tensors.size(); ++i) {
    const Tensor& data = contents.tensors[i].data;
    if (data.bytes() > 0) std::memcpy(base + at, data.raw(), data.bytes());
    snapshot.tensors[i].data = base + at;
    at += data.bytes();
  }
  impl_->pending = std::async(std::launch::async, [impl = impl_.get(), job = std::move(snapshot)] { impl->write(job); });
}

void CheckpointWriter::pin(std::int64_t step) {
  const std::lock_guard lock(impl_->mutex);
  impl_->pinned = step;
}

void CheckpointWriter::wait() {
  if (impl_->pending.valid()) impl_->pending.get();
}

}  // namespace tradewind::runtime
