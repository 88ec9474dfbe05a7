// A thread owns rows; a row is read from memory once and stays in its cache for the passes over it.
#include "kernels/cpu/softmax.h"

#include <cmath>

#include "kernels/base/parallel.h"
#include "kernels/cpu/memory.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/cpu/softmax.cpp"
#include <hwy/foreach_target.h>
#include <hwy/highway.h>

#include "kernels/cpu/softmax-inl.h"

HWY_BEFORE_NAMESPACE();
namespace tradewind::kernels::cpu {
namespace HWY_NAMESPACE {
namespace hn = hwy::HWY_NAMESPACE;
namespace vec = tradewind::kernels::HWY_NAMESPACE;

void softmax_rows(float* y, const float* x, std::int64_t rows, std::int64_t C, bool log) {
  for (std::int64_t n = 0; n < rows; ++n, x += C, y += C) {
    // A row of -infinity alone has no maximum to take off: shifted by 0 its exponentials are all 0.
    const float largest = vec::row_max(x, C), most = largest == -std::numeric_limits<float>::infinity() ? 0.0F : largest;
    if (log) {
      const double sum = vec::row_exp_sum<false>(y, x, C, most);
      vec::row_scale_add(y, x, C, 1.0F, sum == 0 ? 0.0F : static_cast<float>(-(most + std::log(sum))));
    } else {
      const double sum = vec::row_exp_sum<true>(y, x, C, most);
      vec::row_scale_add(y, y, C, sum == 0 ? 0.0F : static_cast<float>(1 / sum), 0.0F);
    }
  }
}

// The sum of a[i] b[i], in blocks as in softmax-inl.h.
HWY_INLINE double row_dot(const float* a, const float* b, std::int64_t count) {
  const hn::ScalableTag<float> d;
  const auto L = static_cast<std::int64_t>(hn::Lanes(d));
  double sum = 0;
  for (std::int64_t begin = 0; begin < count; begin += vec::kSumBlock) {
    const std::int64_t end = count - begin < vec::kSumBlock ? count : begin + vec::kSumBlock;
    auto s = hn::Zero(d);
    std::int64_t i = begin;
    for (; i + L <= end; i += L) s = hn::MulAdd(hn::LoadU(d, a + i), hn::LoadU(d, b + i), s);
    if (i < end) {
      const auto n = static_cast<std::size_t>(end - i);
      s = hn::MulAdd(vec::load_n(d, a + i, n), vec::load_n(d, b + i, n), s);
    }
    sum += hn::GetLane(hn::SumOfLanes(d, s));
  }
  return sum;
}

// dx (=, +=) y (dy - total) or dy - exp(y) total, a vector at a time.
template <bool kLog, class D, class V = hn::Vec<D>>
HWY_INLINE V slope(D d, V dy, V y, V total) {
  if constexpr (kLog) return hn::NegMulAdd(vec::fast_exp(d, y), total, dy);
  return hn::Mul(y, hn::Sub(dy, total));
}

template <bool kLog, bool kAdd>
void backward_rows(float* dx, const float* dy, const float* y, std::int64_t rows, std::int64_t C) {
  const hn::ScalableTag<float> d;
  const auto L = static_cast<std::int64_t>(hn::Lanes(d));
  for (std::int64_t n = 0; n < rows; ++n, dx += C, dy += C, y += C) {
    const auto total = hn::Set(d, static_cast<float>(kLog ? vec::row_sum(dy, C) : row_dot(dy, y, C)));
    std::int64_t c = 0;
    for (; c + L <= C; c += L) {
      auto g = slope<kLog>(d, hn::LoadU(d, dy + c), hn::LoadU(d, y + c), total);
      if constexpr (kAdd) g = hn::Add(g, hn::LoadU(d, dx + c));
      hn::StoreU(g, d, dx + c);
    }
    if (c < C) {
      const auto count = static_cast<std::size_t>(C - c);
      auto g = slope<kLog>(d, vec::load_n(d, dy + c, count), vec::load_n(d, y + c, count), total);
      if constexpr (kAdd) g = hn::Add(g, vec::load_n(d, dx + c, count));
      vec::store_n(g, d, dx + c, count);
    }
  }
}

void softmax_backward_rows(float* dx, const float* dy, const float* y, std::int64_t rows, std::int64_t C, bool log,
                           Write write) {
  const bool add = write == Write::kAccumulate;
  if (log) return add ? backward_rows<true, true>(dx, dy, y, rows, C) : backward_rows<true, false>(dx, dy, y, rows, C);
  return add ? backward_rows<false, true>(dx, dy, y, rows, C) : backward_rows<false, false>(dx, dy, y, rows, C);
}

}  // namespace HWY_NAMESPACE
}  // namespace tradewind::kernels::cpu
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace tradewind::kernels::cpu {

HWY_EXPORT(softmax_rows);
HWY_EXPORT(softmax_backward_rows);

void softmax_forward(float* y, const float* x, std::int64_t N, std::int64_t C, bool log, const Launch& launch) {
  parallel_pieces(N, rows_per_grain(C), launch.threads, [&](std::int64_t begin, std::int64_t end) {
    HWY_DYNAMIC_DISPATCH(softmax_rows)(y + begin * C, x + begin * C, end - begin, C, log);
  });
}

void softmax_backward(float* dx, const float* dy, const float* y, std::int64_t N, std::int64_t C, bool log, Write write,
                      const Launch& launch) {
  parallel_pieces(N, rows_per_grain(C), launch.threads, [&](std::int64_t begin, std::int64_t end) {
    HWY_DYNAMIC_DISPATCH(softmax_backward_rows)(dx + begin * C, dy + begin * C, y + begin * C, end - begin, C, log, write);
  });
}

}  // namespace tradewind::kernels::cpu
#endif  // HWY_ONCE
