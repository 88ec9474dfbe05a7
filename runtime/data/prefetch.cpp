#include "runtime/data/prefetch.h"

#include <fmt/format.h>
#include <pthread.h>
#include <signal.h>

#include <algorithm>
#include <vector>

#include "kernels/base/error.h"
#include "runtime/data/shuffle.h"

namespace tradewind::runtime {

StepPrefetcher::StepPrefetcher(const Dataset& dataset, std::int64_t batch, std::int64_t micro_batch, std::uint64_t seed,
                               int rank, int world, std::uint64_t first_sample, bool shuffle)
    : dataset_(dataset), batch_(batch), micro_batch_(micro_batch), seed_(seed), rank_(rank), world_(world), shuffle_(shuffle) {
  require(world >= 1 && rank >= 0 && rank < world, "StepPrefetcher", "rank is outside of the world");
  require(micro_batch >= 0, "StepPrefetcher", "micro_batch is negative");
  require(dataset.samples_per_epoch() >= 1, "StepPrefetcher", "the data set has no samples");
  if (batch < world)
    throw ConfigError(
        fmt::format("train.batch = {} leaves some of {} ranks without a sample. Raise it to {} or more", batch, world, world));
  // Signals are the main thread's, which waits for them in its system calls.
  sigset_t all, before;
  sigfillset(&all);
  pthread_sigmask(SIG_SETMASK, &all, &before);
  try {
    thread_ = std::thread([this, first_sample] { work(first_sample); });
  } catch (...) {
    pthread_sigmask(SIG_SETMASK, &before, nullptr);
    throw;
  }
  pthread_sigmask(SIG_SETMASK, &before, nullptr);
}

StepPrefetcher::~StepPrefetcher() {
  {
    const std::lock_guard lock(mutex_);
    stop_ = true;
  }
  changed_.notify_all();
  thread_.join();
}

StepBatch StepPrefetcher::next() {
  std::unique_lock lock(mutex_);
  changed_.wait(lock, [this] { return !ready_.empty() || failure_ != nullptr; });
  if (ready_.empty()) std::rethrow_exception(failure_);
  StepBatch step = std::move(ready_.front());
  ready_.pop_front();
  lock.unlock();
  changed_.notify_all();
  return step;
}

StepBatch StepPrefetcher::assemble(std::uint64_t first_sample) const {
  const std::int64_t n = dataset_.samples_per_epoch();
  const std::int64_t begin = rank_ * batch_ / world_, end = (rank_ + 1) * batch_ / world_;
  const std::int64_t size = micro_batch_ == 0 ? end - begin : micro_batch_;
  StepBatch step;
  step.first_sample = first_sample;
  for (std::int64_t at = begin; at < end; at += size) {
    std::vector<SampleRef> samples;
    for (std::int64_t i = at; i < std::min(end, at + size); ++i) {
      const std::uint64_t running = first_sample + static_cast<std::uint64_t>(i);
      const auto epoch = static_cast<std::int64_t>(running / static_cast<std::uint64_t>(n));
      const auto index = static_cast<std::int64_t>(running % static_cast<std::uint64_t>(n));
      samples.push_back({running, epoch, shuffle_ ? permute(seed_, epoch, n, index) : index});
    }
    Batch batch = dataset_.collate(samples);
    step.valid += batch.valid;
    step.tokens += batch.tokens;
    step.samples += batch.samples;
    step.micro.push_back(std::move(batch));
  }
  return step;
}

void StepPrefetcher::work(std::uint64_t first_sample) {
  try {
    for (;; first_sample += static_cast<std::uint64_t>(batch_)) {
      StepBatch step = assemble(first_sample);
      std::unique_lock lock(mutex_);
      changed_.wait(lock, [this] { return stop_ || ready_.size() < kDepth; });
      if (stop_) return;
      ready_.push_back(std::move(step));
      lock.unlock();
      changed_.notify_all();
    }
  } catch (...) {
    const std::lock_guard lock(mutex_);
    failure_ = std::current_exception();
  }
  changed_.notify_all();
}

}  // namespace tradewind::runtime
