#include "runtime/train/evaluator.h"

#include <algorithm>
#include <chrono>
#include <cmath>
#include <numbers>
#include <vector>

namespace tradewind::runtime {

Evaluation evaluate(Context& context, Task& task, const Dataset& data, std::int64_t batch, std::int64_t max_batches,
                    const std::function<void(std::int64_t, std::int64_t)>& progress, Communicator* communicator) {
  const auto start = std::chrono::steady_clock::now();
  const std::int64_t all = data.samples_per_epoch();
  const std::int64_t samples = max_batches > 0 ? std::min(all, max_batches * batch) : all;
  Evaluation out;
  LossCounter losses(context);
  std::int64_t bytes = 0;
  const std::int64_t rank = communicator == nullptr ? 0 : communicator->rank(),
                     size = communicator == nullptr ? 1 : communicator->size();
  for (std::int64_t begin = rank * batch; begin < samples; begin += size * batch) {
    std::vector<SampleRef> refs;
    for (std::int64_t i = begin; i < std::min(samples, begin + batch); ++i)
      refs.push_back({.running = static_cast<std::uint64_t>(i), .epoch = 0, .index = i});
    const Batch rows = data.collate(refs);
    Tape tape(context, false);
    losses.add(task.forward(tape, on_device(context, rows)));
    out.targets += rows.valid;
    bytes += rows.bytes_of_text;
    if (progress) progress(std::min(samples, begin + batch), samples);
  }
  double nll = losses.sums().nll;
  if (communicator != nullptr) {
    std::int64_t counts[2] = {out.targets, bytes};
    communicator->all_reduce(counts, 2, kernels::DType::kInt64, ReduceOp::kSum, nullptr);
    communicator->all_reduce(&nll, 1, kernels::DType::kFloat64, ReduceOp::kSum, nullptr);
    out.targets = counts[0];
    bytes = counts[1];
  }
  if (out.targets == 0) throw DataError("evaluating: the data set holds no target that counts");
  out.loss = nll / static_cast<double>(out.targets);
  out.perplexity = std::exp(out.loss);
  if (bytes > 0) out.bits_per_byte = nll / std::numbers::ln2 / static_cast<double>(bytes);
  out.seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
  return out;
}

}  // namespace tradewind::runtime
