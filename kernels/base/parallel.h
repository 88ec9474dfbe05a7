// Splitting rows over the OpenMP threads of a launch. CPU arms only.
//
// The split is a function of the count and the threads alone, so results are the same in every run with as many threads.
#pragma once

#include <omp.h>

#include <algorithm>
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

}  // namespace tradewind::kernels
