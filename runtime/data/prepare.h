// Turning the text of a recipe into one prepared file (prepared_file.h), once: tokenizer, tokens, beginnings of documents.
//
// The text is read in pieces, which the threads encode, and what they give is appended to a stage (prepared_stage.h) in order,
// so neither text nor tokens are held in memory, and the work goes on where it was when its process ended. The result is a
// function of the text and the config alone.
#pragma once

#include <cstdint>
#include <filesystem>
#include <string>

#include "runtime/data/text_dataset.h"

namespace tradewind::runtime {

struct PrepareOptions {
  std::filesystem::path to;
  std::int64_t vocabulary_size = 0;  // above 0: train a "bpe" of this many tokens on the text
  int threads = 1;
  bool fresh = false;                              // begin anew; replace what is there
  std::size_t piece_bytes = std::size_t{1} << 20;  // of text, for one thread at a time
  std::size_t batch_pieces = 64;                   // between two looks at stop_requested()
};

class PrepareObserver {
 public:
  virtual ~PrepareObserver() = default;
  /// `total` 0: not known.
  virtual void on_progress(const std::string& what, std::uint64_t bytes, std::uint64_t total) = 0;
  virtual void on_note(const std::string& text) = 0;
  virtual bool stop_requested() = 0;
};

enum class Prepared { kNow, kBefore, kStopped };

/// Reads data.path, and data.validation_path where it is set. kBefore: the file is there, made of the same text in the same
/// way; nothing was done. kStopped: the observer asked for it; the same call goes on. Throws ConfigError where keys do not go
/// together, DataError: the text cannot be read or encoded, the file or unfinished work is of another text or config, the disk
/// is full. From the main thread (OpenMP, HDF5).
Prepared prepare_text(const DataConfig& config, const PrepareOptions& options, PrepareObserver& observer);

}  // namespace tradewind::runtime
