// Whole optimiser steps, assembled on a thread while the step before is computed.
#pragma once

#include <condition_variable>
#include <cstdint>
#include <deque>
#include <exception>
#include <mutex>
#include <thread>

#include "runtime/data/batch.h"

namespace tradewind::runtime {

/// Running sample s is sample permute(seed, epoch, n, s % n) of epoch s / n, n samples an epoch. A step takes the next `batch`
/// of them over all ranks, rank r of w those from r * batch / w to (r + 1) * batch / w, in micro-batches of `micro_batch` (0:
/// all at once). So the data position of a run is one integer, and neither world size nor micro_batch changes what a step
/// learns from.
class StepPrefetcher {
 public:
  /// `dataset` must outlive it. Throws ConfigError where a rank would get no sample.
  StepPrefetcher(const Dataset& dataset, std::int64_t batch, std::int64_t micro_batch, std::uint64_t seed, int rank, int world,
                 std::uint64_t first_sample, bool shuffle = true);
  ~StepPrefetcher();
  StepPrefetcher(const StepPrefetcher&) = delete;
  StepPrefetcher& operator=(const StepPrefetcher&) = delete;

  /// The next step. Throws what reading the data threw; then again at every call.
  StepBatch next();

 private:
  static constexpr std::size_t kDepth = 2;

  StepBatch assemble(std::uint64_t first_sample) const;
  void work(std::uint64_t first_sample);

  const Dataset& dataset_;
  const std::int64_t batch_, micro_batch_;
  const std::uint64_t seed_;
  const int rank_, world_;
  const bool shuffle_;

  std::mutex mutex_;
  std::condition_variable changed_;
  std::deque<StepBatch> ready_;
  std::exception_ptr failure_;
  bool stop_ = false;
  std::thread thread_;
};

}  // namespace tradewind::runtime
