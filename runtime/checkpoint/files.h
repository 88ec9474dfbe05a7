// Files that survive a crash, and reading at an offset. Every failure is a CheckpointError with the file and the reason.
//
// Durable means: the bytes are synced, the file has its name by one rename, and the directory is synced after it. A process or
// a machine that dies at any moment leaves the old file or the new one, and perhaps a leftover (see leftover_name).
#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <memory>
#include <string>
#include <string_view>

namespace tradewind::runtime {

/// A new file that is written once, front to back. Its checksum is computed on the way.
class DurableFile {
 public:
  explicit DurableFile(std::filesystem::path path);  // must not exist
  ~DurableFile();
  DurableFile(const DurableFile&) = delete;
  DurableFile& operator=(const DurableFile&) = delete;
  /// Throws where the disk is full, with the bytes written so far and those free.
  void write(const void* data, std::size_t bytes);
  void finish();  // syncs and closes
  std::uint64_t bytes() const { return bytes_; }
  std::string checksum() const;  // XXH3-64, 16 hexadecimal digits

 private:
  struct Hash;
  std::filesystem::path path_;
  int descriptor_;
  std::uint64_t bytes_ = 0;
  std::unique_ptr<Hash> hash_;
};

/// An open file that is read at offsets. It stays readable when the directory is renamed or removed.
class InputFile {
 public:
  explicit InputFile(std::filesystem::path path);
  ~InputFile();
  InputFile(const InputFile&) = delete;
  InputFile& operator=(const InputFile&) = delete;
  const std::filesystem::path& path() const { return path_; }
  std::uint64_t size() const { return size_; }
  /// Throws where the file ends before offset + bytes.
  void read(std::uint64_t offset, void* destination, std::size_t bytes) const;
  std::string read_all() const;
  std::string checksum() const;  // of the whole file, as DurableFile's

 private:
  std::filesystem::path path_;
  int descriptor_;
  std::uint64_t size_ = 0;
};

/// XXH3-64 of some text, 16 hexadecimal digits.
std::string checksum_of(std::string_view text);

/// Replaces the file at `to`, or makes it, durably.
void write_file_durably(const std::filesystem::path& to, std::string_view contents);

/// Makes the directories of `path` that are missing, durably.
void make_directories_durably(const std::filesystem::path& path);

/// Moves directory `from` to `to` in one step and syncs the parent. Where `to` exists the two change places, so that `to` is
/// whole at any moment; then the old one, now `from`, is removed.
void put_directory(const std::filesystem::path& from, const std::filesystem::path& to);

/// Removes a directory: first out of the way by one rename into `trash`, so that nobody meets half of it.
void remove_directory(const std::filesystem::path& path, const std::filesystem::path& trash);

void sync_directory(const std::filesystem::path& path);

/// An errno that says so: no space, no quota, a limit on the size of files.
bool is_disk_full(int error);

/// Throws CheckpointError where the disk of `directory` has fewer than `bytes` free for us.
void require_free_space(const std::filesystem::path& directory, std::uint64_t bytes);

/// A name beside `path` for something unfinished, and what removes those of `directory` that a crash has left, but for `keep`.
std::filesystem::path leftover_name(const std::filesystem::path& path);
bool is_leftover(const std::filesystem::path& path);
/// The staging directory in `directory` of the owner with this fencing number: a leftover once another owner comes.
std::filesystem::path leftover_name(const std::filesystem::path& directory, std::int64_t fence);
void remove_leftovers(const std::filesystem::path& directory, const std::filesystem::path& keep = {});

}  // namespace tradewind::runtime
