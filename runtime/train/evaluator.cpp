#include "runtime/train/evaluator.h"

#include <fmt/format.h>

#include <algorithm>
#include <chrono>
#include <cmath>
#include <numbers>
#include <vector>

namespace tradewind::runtime {

namespace {

/// Ranks hear of a signal at different times; they end before the same batch.
bool stopped(const EvaluationPlan& plan) {
  if (!plan.stop) return false;
  std::int64_t asked = plan.stop() ? 1 : 0;
  if (plan.communicator != nullptr) plan.communicator->all_reduce(&asked, 1, kernels::DType::kInt64, ReduceOp::kSum, nullptr);
  return asked > 0;
}

}  // namespace

double Evaluation::best_value() const {
  if (best_by == "loss") return loss;
  for (const auto& [name, value] : metrics)
    if (name == best_by) return value;
  throw InternalError("Evaluation: \"" + best_by + "\" was not measured");
}

std::string Evaluation::text() const {
  std::string out = fmt::format("loss {:.4f}", loss);
  if (perplexity > 0) out += fmt::format(", perplexity {:.3f}", perplexity);
  if (bits_per_byte > 0) out += fmt::format(", bits per byte {:.4f}", bits_per_byte);
  for (std::size_t i = 0; i < std::min(headline, metrics.size()); ++i)
    out += fmt::format(", {} {:.4f}", metrics[i].first, metrics[i].second);
  if (candidates > 0) out += fmt::format(" among {} sampled items", candidates);
  return out;
}

void for_each_batch(std::int64_t samples, const EvaluationPlan& plan,
                    const std::function<void(std::int64_t, std::int64_t)>& batch) {
  const std::int64_t total = plan.max_batches > 0 ? std::min(samples, plan.max_batches * plan.batch) : samples;
  const std::int64_t rank = plan.communicator == nullptr ? 0 : plan.communicator->rank(),
                     size = plan.communicator == nullptr ? 1 : plan.communicator->size();
  // As many rounds on every rank, so that all are asked as often.
  for (std::int64_t round = 0; round < total; round += size * plan.batch) {
    if (stopped(plan)) throw EvaluationStopped();
    const std::int64_t begin = round + rank * plan.batch, end = std::min(total, begin + plan.batch);
    if (begin >= end) continue;
    batch(begin, end);
    if (plan.progress) plan.progress(end, total);
  }
}

Evaluation LossValidation::run(Context& context, Task& task, const EvaluationPlan& plan) const {
  const auto start = std::chrono::steady_clock::now();
  Evaluation out;
  LossCounter losses(context);
  std::int64_t bytes = 0;
  for_each_batch(samples(), plan, [&](std::int64_t begin, std::int64_t end) {
    std::vector<SampleRef> refs;
    for (std::int64_t i = begin; i < end; ++i)
      refs.push_back({.running = static_cast<std::uint64_t>(i), .epoch = 0, .index = i});
    const Batch rows = data_->collate(refs);
    Tape tape(context, false);
    losses.add(task.forward(tape, on_device(context, rows)));
    out.targets += rows.valid;
    bytes += rows.bytes_of_text;
  });
  double nll = losses.sums().nll;
  if (plan.communicator != nullptr) {
    std::int64_t counts[2] = {out.targets, bytes};
    plan.communicator->all_reduce(counts, 2, kernels::DType::kInt64, ReduceOp::kSum, nullptr);
    plan.communicator->all_reduce(&nll, 1, kernels::DType::kFloat64, ReduceOp::kSum, nullptr);
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
