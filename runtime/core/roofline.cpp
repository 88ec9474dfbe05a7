#include "runtime/core/roofline.h"

#include <algorithm>
#include <chrono>

#include "kernels/linear.h"

namespace tradewind::runtime {

double measured_product_rate(Context& context) {
  using Clock = std::chrono::steady_clock;
  constexpr int kTries = 5;
  const bool gpu = context.device().type == DeviceType::kCuda;
  const std::int64_t size = gpu ? 8192 : 1024;  // 1.1 TFLOP: milliseconds of a GPU
  const kernels::LinearOptions options{.dtype = context.compute_type()};
  const Tensor x = context.activation({size, size}), w = context.activation({size, size}), y = context.activation({size, size});
  if (gpu) {
    for (const Tensor& t : {x, w}) kernels::cuda_runtime().fill(t.raw(), 0x3F, t.bytes(), t.stream());  // 0.747 in both types
  } else {
    x.fill(1.0F);
    w.fill(0.5F);
  }
  double best = 0;
  for (int i = 0; i <= kTries; ++i) {  // the first one warms up
    context.wait();
    const auto begin = Clock::now();
    kernels::linear_forward(y.raw(), nullptr, x.raw(), w.raw(), nullptr, {size, size, size}, options, context.launch());
    context.wait();
    const double seconds = std::chrono::duration<double>(Clock::now() - begin).count();
    const auto n = static_cast<double>(size);
    if (i > 0 && seconds > 0) best = std::max(best, 2.0 * n * n * n / seconds);
  }
  return best;
}

}  // namespace tradewind::runtime
