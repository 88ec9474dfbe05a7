// What generation needs of a language model.
#pragma once

#include <memory>

#include "runtime/nn/kv_cache.h"
#include "runtime/train/task.h"

namespace tradewind::models {

class LanguageModel : public runtime::Task {
 public:
  virtual std::int64_t vocabulary() const = 0;
  virtual std::int64_t context() const = 0;  // most positions of a sequence
  /// Logits [N, V] of every row, float32, on the context's device, where the batch is. Reads its fields but "targets".
  virtual runtime::Tensor logits(runtime::Context& context, const runtime::Batch& batch) = 0;
  virtual std::unique_ptr<runtime::KvCache> make_cache(runtime::Context& context, std::int64_t sequences) const = 0;
  /// Logits [S, V] of each sequence's last row, reading new rows only; without meaning where a sequence has none. "positions"
  /// must continue where the cache ends.
  virtual runtime::Tensor next_logits(runtime::Context& context, const runtime::Batch& batch, runtime::KvCache& cache) = 0;
};

}  // namespace tradewind::models
