// Loss of a task over a data set, without dropout and gradients.
#pragma once

#include <cstdint>
#include <functional>

#include "runtime/comm/communicator.h"
#include "runtime/train/task.h"

namespace tradewind::runtime {

struct Evaluation {
  double loss = 0;           // mean negative log-likelihood of the valid targets, nats
  double perplexity = 0;     // exp(loss)
  double bits_per_byte = 0;  // total nll / ln 2 / UTF-8 bytes of the targets; 0 where the data set does not count bytes
  std::int64_t targets = 0;
  double seconds = 0;
};

/// Every sample of `data` once, in order, or the first `max_batches` batches of `batch` samples (0: all).
/// `progress(done, total)` is called after each batch. Collective: rank r of n takes every n-th batch, and all ranks get the
/// same result.
Evaluation evaluate(Context& context, Task& task, const Dataset& data, std::int64_t batch, std::int64_t max_batches,
                    const std::function<void(std::int64_t, std::int64_t)>& progress = {}, Communicator* communicator = nullptr);

}  // namespace tradewind::runtime
