#include "runtime/core/roofline.h"

#include <algorithm>
#include <chrono>

#include "kernels/linear.h"

namespace tradewind::runtime {

double measured_product_rate(Context& context) {
  using Clock = std::chrono::steady_clock;
  constexpr std::int64_t kSize = 1024;
  constexpr int kTries = 5;
  const Tensor x = context.tensor({kSize, kSize}), w = context.tensor({kSize, kSize}), y = context.tensor({kSize, kSize});
  x.fill(1.0F);
  w.fill(0.5F);
  double best = 0;
  for (int i = 0; i <= kTries; ++i) {  // the first one warms up
    const auto begin = Clock::now();
    kernels::linear_forward(y.raw(), nullptr, x.raw(), w.raw(), nullptr, {kSize, kSize, kSize}, {}, context.launch());
    const double seconds = std::chrono::duration<double>(Clock::now() - begin).count();
    if (i > 0 && seconds > 0) best = std::max(best, 2.0 * kSize * kSize * kSize / seconds);
  }
  return best;
}

}  // namespace tradewind::runtime
