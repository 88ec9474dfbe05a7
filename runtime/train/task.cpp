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
