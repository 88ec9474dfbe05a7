// Writing checkpoints, in the background and by all ranks. The order in which one comes into being: each rank's chunk and rank
// 0's state, synced; the chunks' headers read again and put together; the manifest; the directory; one rename; its parent. See
// checkpoint.h for the form.
#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <chrono>
#include <cstdio>
#include <future>
#include <limits>
#include <mutex>
#include <utility>

#include "kernels/base/error.h"
#include "runtime/checkpoint/checkpoint.h"
#include "runtime/checkpoint/manifest.h"
#include "runtime/checkpoint/safetensors.h"
#include "runtime/core/transfer.h"

namespace tradewind::runtime {
namespace fs = std::filesystem;
namespace {

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
  for (const TensorSlice& t : contents.tensors) {
    require(t.data.defined(), "saving a checkpoint", "a tensor without data");
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

std::string host_name() {
  std::array<char, 256> name{};
  return ::gethostname(name.data(), name.size() - 1) == 0 ? name.data() : "unknown";
}

fs::path directory_of(const fs::path& parent, std::int64_t step) { return parent / fmt::format("step-{:08}", step); }

template <class Fill>
detail::ManifestFile write_file(const fs::path& directory, const std::string& name, const Fill& fill) {
  DurableFile file(directory / name);
  fill(file);
  file.finish();
  return {name, file.bytes(), file.checksum()};
}

/// What a rank tells the others of its part.
struct Report {
  std::int64_t failed = 0;  // 0, or the exit code of what was thrown
  std::uint64_t bytes = 0;  // of the chunk
  std::array<char, 16> checksum{};
  std::array<char, 2000> message{};

  void fail(const std::exception& e) {
    const auto* known = dynamic_cast<const Error*>(&e);
    failed = static_cast<std::int64_t>(known == nullptr ? ExitCode::kCheckpoint : known->code());
    const std::string_view text = e.what();
    std::copy_n(text.data(), std::min(text.size(), message.size() - 1), message.data());
  }
  [[noreturn]] void raise() const {
    if (failed == static_cast<std::int64_t>(ExitCode::kInternal)) throw InternalError(message.data());
    throw CheckpointError(message.data());
  }
};

// Keeps the newest `keep_last` up to `step`, the pinned one, and whatever is later than `step`.
void remove_old(const CheckpointFolder& folder, std::int64_t step, std::int64_t keep_last, std::int64_t pinned) {
  std::vector<fs::path> up_to;  // oldest first
  for (const fs::path& directory : list_checkpoints(folder.path)) {
    up_to.push_back(directory);
    if (directory == directory_of(folder.path, step)) break;
  }
  const auto excess = static_cast<std::int64_t>(up_to.size()) - keep_last;
  for (std::int64_t i = 0; i < excess; ++i)
    if (const fs::path& old = up_to[static_cast<std::size_t>(i)]; pinned < 0 || old != directory_of(folder.path, pinned))
      remove_directory(old, folder.staging.empty() ? folder.path : folder.staging);
}

}  // namespace

struct CheckpointWriter::Impl {
  /// What the worker has written.
  struct Part {
    std::vector<detail::ManifestFile> files;
  };

  Impl(CheckpointFolder where, std::int64_t keep, int r, int n) : folder(std::move(where)), keep_last(keep), rank(r), size(n) {}

  CheckpointFolder folder;
  std::int64_t keep_last;
  int rank, size;
  std::mutex mutex;                 // of pinned
  std::int64_t pinned = -1;         // none
  Tensor copy;                      // uint8, reused by every save
  Snapshot snapshot;                // of the save under way
  fs::path unfinished;              // where it is made
  std::future<Part> pending;        // the save under way, or its failure
  detail::ManifestFile state_file;  // on rank 0, once its part has been reported
  std::future<void> clean_up;       // of old checkpoints, after a commit

  std::string chunk_name(int of) const { return fmt::format("chunk-{:05}-of-{:05}.safetensors", of, size); }

  /// What `action` throws, as an error that says which save failed and where; with `whose`, also on which rank.
  template <class Action>
  auto explained(const std::string& whose, const Action& action) const {
    try {
      return action();
    } catch (const InternalError&) {
      throw;
    } catch (const std::exception& e) {
      throw CheckpointError(
          fmt::format("saving the checkpoint of step {} ({} bytes needed) in {}: {}{}; earlier checkpoints are as "
                      "they were: make room or choose another run.directory, and run the same command again",
                      snapshot.step, snapshot.bytes(), folder.path.string(), whose, e.what()));
    }
  }

  /// This rank's files, synced.
  Part write_part() const {
    if (folder.staging.empty()) {
      make_directories_durably(folder.path);
      remove_leftovers(folder.path);
    }
    require_free_space(folder.path, snapshot.bytes());
    // Not with the parents: staging that is gone says that the run has another owner.
    if (std::error_code error; !fs::create_directory(unfinished, error) && error)
      throw CheckpointError("creating the directory " + unfinished.string() + ": " + error.message());
    Part out;
    out.files.push_back(write_file(unfinished, chunk_name(rank),
                                   [&](DurableFile& file) { write_safetensors(file, snapshot.tensors, snapshot.metadata); }));
    if (rank == 0)
      out.files.push_back(write_file(unfinished, detail::kStateName,
                                     [&](DurableFile& file) { file.write(snapshot.state.data(), snapshot.state.size()); }));
    return out;
  }

  /// From whole parts to a checkpoint.
  void finish(std::vector<detail::ManifestFile> files) const {
    detail::Manifest manifest{.step = snapshot.step, .files = std::move(files), .tensors = {}};
    manifest.world_size = size;
    sync_directory(unfinished);  // also lets a network file system show what other hosts have made
    const Checkpoint all = Checkpoint::assemble(unfinished, manifest, Check::kLayout);
    for (const auto& [name, entry] : all.entries_)
      manifest.tensors.push_back({name, kernels::name_of(entry.dtype), sizes_of(entry.global_shape)});
    const std::string text = detail::manifest_text(manifest);
    write_file(unfinished, detail::kManifestName, [&](DurableFile& file) { file.write(text.data(), text.size()); });
    sync_directory(unfinished);
    if (folder.require_owner) folder.require_owner();
    put_directory(unfinished, directory_of(folder.path, snapshot.step));
  }

  void discard() const {
    std::error_code ignored;
    fs::remove_all(unfinished, ignored);
  }

  void remove_old_ones() {
    std::int64_t keep = -1;
    {
      const std::lock_guard lock(mutex);
      keep = pinned;
    }
    remove_old(folder, snapshot.step, keep_last, keep);
  }

  /// One process alone.
  Part write_alone() {
    return explained("", [&] {
      try {
        finish(write_part().files);
      } catch (...) {
        discard();
        throw;
      }
      remove_old_ones();
      return Part{};
    });
  }

  Report report_of_part() {
    Report out;
    try {
      const Part part = pending.get();
      out.bytes = part.files.front().bytes;
      std::ranges::copy(part.files.front().checksum, out.checksum.begin());
      if (rank == 0) state_file = part.files.back();
    } catch (const std::exception& e) {
      out.fail(e);
    }
    return out;
  }

  /// On rank 0: the checkpoint, or why there is none.
  Report commit(const std::vector<Report>& reports) {
    const auto failed = std::ranges::find_if(reports, [](const Report& r) { return r.failed != 0; });
    Report out;
    if (failed != reports.end()) {
      out = *failed;
    } else {
      try {
        explained(whose(), [&] {
          std::vector<detail::ManifestFile> files;
          for (std::size_t r = 0; r < reports.size(); ++r)
            files.push_back({chunk_name(static_cast<int>(r)), reports[r].bytes,
                             std::string(reports[r].checksum.begin(), reports[r].checksum.end())});
          files.push_back(state_file);
          finish(std::move(files));
        });
      } catch (const std::exception& e) {
        out.fail(e);
      }
    }
    if (out.failed != 0) discard();
    return out;
  }

  std::string whose() const { return fmt::format("rank {} on {}: ", rank, host_name()); }
};

CheckpointWriter::CheckpointWriter(CheckpointFolder folder, std::int64_t keep_last, int rank, int size)
    : impl_(std::make_unique<Impl>(std::move(folder), keep_last, rank, size)) {
  require(keep_last >= 1, "CheckpointWriter", "keep_last must be 1 or more");
  require(rank >= 0 && rank < size, "CheckpointWriter", "a rank outside the world");
  require(size == 1 || !impl_->folder.staging.empty(), "CheckpointWriter", "several ranks need a staging directory");
}

CheckpointWriter::~CheckpointWriter() {
  try {
    if (impl_->clean_up.valid()) impl_->clean_up.get();
    if (impl_->pending.valid()) impl_->pending.get();
  } catch (const std::exception& e) {
    std::fprintf(stderr, "error: %s\n", e.what());
  }
}

void CheckpointWriter::begin(const CheckpointContents& contents) {
  Impl& impl = *impl_;
  if (impl.size == 1) wait();
  require(!pending(), "CheckpointWriter::begin", "the save before this one was not committed");
  if (impl.clean_up.valid()) impl.clean_up.get();
  Snapshot snapshot = describe(contents);
  std::size_t bytes = 0;
  for (const TensorSlice& t : contents.tensors) bytes += t.data.bytes();
  Tensor& copy = impl.copy;
  if (!copy.defined() || copy.bytes() < bytes) {
    copy = {};  // first given back: two copies never live at once
    copy = Tensor(host_allocator(), {static_cast<std::int64_t>(bytes)}, DType::kUInt8);
  }
  std::size_t at = 0;
  auto* base = static_cast<std::byte*>(copy.raw());
  for (std::size_t i = 0; i < contents.tensors.size(); ++i) {
    const Tensor& data = contents.tensors[i].data;
    copy_to_host(base + at, data);
    snapshot.tensors[i].data = base + at;
    at += data.bytes();
  }
  const fs::path target = directory_of(impl.folder.path, snapshot.step);
  impl.unfinished = impl.folder.staging.empty() ? leftover_name(target) : impl.folder.staging / target.filename();
  impl.snapshot = std::move(snapshot);
  impl.pending = std::async(std::launch::async, [&impl] {
    if (impl.size == 1) return impl.write_alone();
    return impl.explained(impl.whose(), [&] { return impl.write_part(); });
  });
}

bool CheckpointWriter::pending() const { return impl_->pending.valid(); }

bool CheckpointWriter::local_done() const {
  return pending() && impl_->pending.wait_for(std::chrono::seconds(0)) == std::future_status::ready;
}

void CheckpointWriter::commit(Communicator& communicator) {
  Impl& impl = *impl_;
  if (!pending()) return;
  if (impl.size == 1) {
    wait();
    return;
  }
  std::vector<Report> reports(static_cast<std::size_t>(impl.size));
  const Report mine = impl.report_of_part();
  communicator.all_gather(reports.data(), &mine, sizeof(Report), DType::kUInt8, nullptr);
  Report outcome;
  if (impl.rank == 0) outcome = impl.commit(reports);
  communicator.broadcast(&outcome, sizeof(Report), DType::kUInt8, 0, nullptr);
  if (outcome.failed != 0) outcome.raise();
  if (impl.rank == 0) impl.clean_up = std::async(std::launch::async, [&impl] { impl.remove_old_ones(); });
}

void CheckpointWriter::pin(std::int64_t step) {
  const std::lock_guard lock(impl_->mutex);
  impl_->pinned = step;
}

void CheckpointWriter::wait() {
  require(impl_->size == 1, "CheckpointWriter::wait", "several ranks commit together");
  if (impl_->pending.valid()) impl_->pending.get();
}

void write_checkpoint(const fs::path& parent, const CheckpointContents& contents) {
  CheckpointWriter writer(parent, std::numeric_limits<std::int64_t>::max());
  writer.begin(contents);
  writer.wait();
}

}  // namespace tradewind::runtime
