// Splitting rows over the OpenMP threads of a launch. CPU arms only.
//
// The split is a function of the count and the threads alone, so results are the same in every run with as many threads.
#pragma once

#include <omp.h>

#include <algorithm>
#include <atomic>
#include <cstdint>

namespace tradewind::kernels {

/// Calls body(begin, end, thread) once a thread over contiguous parts of [0, count), each a multiple of `grain` rows
/// (but the last). Runs on the calling thread where there is too little to share. `body` must not throw.
template <class Body>
void parallel_ranges(std::int64_t count, std::int64_t grain, int threads, Body&& body) {
  grain = std::max<std::int64_t>(grain, 1);
  const std::int64_t grains = (count + grain - 1) / grain;
  const int parts = static_cast<int>(std::min<std::int64_t>(threads, grains));
  if (parts <= 1) {
    if (count > 0) body(std::int64_t{0}, count, 0);
    return;
  }
#pragma omp parallel num_threads(parts)
  {
    const int part = omp_get_thread_num();
    const std::int64_t begin = std::min(count, grains * part / parts * grain);
    const std::int64_t end = std::min(count, grains * (part + 1) / parts * grain);
    if (begin < end) body(begin, end, part);
  }
}

/// Calls body(thread, team, meet) on every thread of a team of at most `threads`. meet() returns once all have called it; each
/// thread calls it equally often. `body` must not throw.
template <class Body>
void parallel_team(int threads, Body&& body) {
  if (threads <= 1) {
    body(0, 1, [] {});
    return;
  }
#pragma omp parallel num_threads(threads)
  {
    body(omp_get_thread_num(), omp_get_num_threads(), [] {
#pragma omp barrier
    });
  }
}

/// Part `part` of `parts` of [0, count) in multiples of `grain`.
struct Share {
  std::int64_t begin, end;
};
inline Share share_of(std::int64_t count, std::int64_t grain, int part, int parts) {
  const std::int64_t grains = (count + grain - 1) / grain;
  return {.begin = std::min(count, grains * part / parts * grain), .end = std::min(count, grains * (part + 1) / parts * grain)};
}

/// Hands out [0, count) in pieces that shrink towards the end, to whoever asks first: a thread that the machine slows down
/// takes fewer. For work whose bits do not depend on how it is split.
class WorkQueue {
 public:
  /// Pieces are multiples of `grain` (but the last) and at most `most`, itself a multiple of grain.
  WorkQueue(std::int64_t count, std::int64_t grain, std::int64_t most, int threads)
      : count_(count), grain_(grain), most_(most), threads_(threads) {}

  /// An empty share once all is taken.
  Share take() {
    std::int64_t begin = next_.load(std::memory_order_relaxed), size = 0;
    do {
      const std::int64_t fair = (count_ - begin) / (2 * std::int64_t{threads_}) / grain_ * grain_;
      size = std::min(std::clamp(fair, grain_, most_), count_ - begin);
    } while (size > 0 && !next_.compare_exchange_weak(begin, begin + size, std::memory_order_relaxed));
    return {.begin = begin, .end = begin + std::max<std::int64_t>(size, 0)};
  }

 private:
  std::atomic<std::int64_t> next_{0};
  std::int64_t count_, grain_, most_;
  int threads_;
};

/// Calls body(begin, end) over pieces of [0, count), multiples of `grain` (but the last), which the threads share through a
/// WorkQueue: for rows and elements that are independent of each other. `body` must not throw.
template <class Body>
void parallel_pieces(std::int64_t count, std::int64_t grain, int threads, Body&& body) {
  grain = std::max<std::int64_t>(grain, 1);
  if (threads <= 1 || count <= grain) {
    if (count > 0) body(std::int64_t{0}, count);
    return;
  }
  WorkQueue queue(count, grain, (count + grain - 1) / grain * grain, threads);
#pragma omp parallel num_threads(static_cast <int>(std::min <std::int64_t>(threads, (count + grain - 1) / grain)))
  for (Share piece = queue.take(); piece.begin < piece.end; piece = queue.take()) body(piece.begin, piece.end);
}

}  // namespace tradewind::kernels
