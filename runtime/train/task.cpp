#include "runtime/train/task.h"

#include <numeric>

namespace tradewind::runtime {
namespace {

constexpr std::int64_t kMostWaiting = std::int64_t{1} << 22;  // rows: 32 MiB of pinned memory

double sum(const Tensor& x) {
  const auto values = x.span<float>();
  return std::accumulate(values.begin(), values.end(), 0.0);
}

}  // namespace

Work Work::of(const Batch& batch) {
  if (!batch.fields.contains("offsets")) return {.rows = batch.samples, .pairs = batch.samples, .targets = batch.valid};
  const auto offsets = batch.on_host("offsets").span<std::int64_t>();
  Work work{.rows = offsets.back() - offsets.front(), .pairs = 0, .targets = batch.valid};
  for (std::size_t s = 1; s < offsets.size(); ++s) work.pairs += (offsets[s] - offsets[s - 1]) * (offsets[s] - offsets[s - 1]);
  return work;
}

void Work::operator+=(const Work& other) {
  rows += other.rows;
  pairs += other.pairs;
  targets += other.targets;
}

double CostEstimate::forward_flops(const Work& work) const {
  return flops_per_row * static_cast<double>(work.rows) + flops_per_pair * static_cast<double>(work.pairs) +
         flops_per_target * static_cast<double>(work.targets);
}

void LossCounter::add(const RowLosses& losses) {
  readback_.add(losses.loss);
  readback_.add(losses.nll);
  waiting_ += losses.loss.elements();
  if (context_.device().type == DeviceType::kCpu || waiting_ > kMostWaiting) count();
}

void LossCounter::count() {
  readback_.wait();
  for (std::size_t i = 0; i < readback_.size(); i += 2) {
    sums_.loss += sum(readback_[i]);
    sums_.nll += sum(readback_[i + 1]);
  }
  readback_.clear();
  waiting_ = 0;
}

LossSums LossCounter::sums() {
  count();
  return sums_;
}

}  // namespace tradewind::runtime
