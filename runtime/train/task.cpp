#include "runtime/train/task.h"

#include <numeric>

namespace tradewind::runtime {
namespace {

constexpr std::int64_t kMostWaiting = std::int64_t{1} << 22;  // rows: 32 MiB of pinned memory

double sum(const Tensor& x) {
  const auto values = x.span<float>();
  return std::accumulate(values.begin(), values.end(), 0.0);
}

/// Of each target its own, or those that all of them share.
std::int64_t negatives_of(const Batch& batch) {
  const auto found = batch.fields.find("negatives");
  if (found == batch.fields.end()) return 0;
  const Tensor& negatives = found->second;
  return negatives.shape().rank() == 1 ? batch.valid * negatives.elements() : negatives.elements();
}

}  // namespace

Work Work::of(const Batch& batch) {
  Work work{.rows = batch.samples, .pairs = batch.samples, .targets = batch.valid, .negatives = negatives_of(batch)};
  if (!batch.fields.contains("offsets")) return work;
  const auto offsets = batch.on_host("offsets").span<std::int64_t>();
  work.rows = offsets.back() - offsets.front();
  work.pairs = 0;
  for (std::size_t s = 1; s < offsets.size(); ++s) work.pairs += (offsets[s] - offsets[s - 1]) * (offsets[s] - offsets[s - 1]);
  return work;
}

void Work::operator+=(const Work& other) {
  rows += other.rows;
  pairs += other.pairs;
  targets += other.targets;
  negatives += other.negatives;
}

double CostEstimate::forward_flops(const Work& work) const {
  return flops_per_row * static_cast<double>(work.rows) + flops_per_pair * static_cast<double>(work.pairs) +
         flops_per_target * static_cast<double>(work.targets) + flops_per_negative * static_cast<double>(work.negatives);
}

Work CostEstimate::work(std::int64_t samples) const {
  Work out{.rows = sample.rows * samples, .pairs = sample.pairs * samples, .targets = sample.targets * samples};
  out.negatives = out.targets * candidates.beside(out.targets);
  return out;
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
