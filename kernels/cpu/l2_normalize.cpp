// A thread owns rows; a row is read from memory once and stays in its cache for the second pass.
#include "kernels/cpu/l2_normalize.h"

#include <algorithm>
#include <cmath>

#include "kernels/base/parallel.h"
#include "kernels/cpu/memory.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/cpu/l2_normalize.cpp"
#include <hwy/foreach_target.h>
#include <hwy/highway.h>

#include "kernels/cpu/tail-inl.h"

HWY_BEFORE_NAMESPACE();
namespace tradewind::kernels::cpu {
namespace HWY_NAMESPACE {
namespace {
namespace hn = hwy::HWY_NAMESPACE;
namespace vec = tradewind::kernels::HWY_NAMESPACE;

HWY_INLINE float dot(const float* a, const float* b, std::int64_t C) {
  const hn::ScalableTag<float> d;
  const auto L = static_cast<std::int64_t>(hn::Lanes(d));
  auto sum = hn::Zero(d);
  for (std::int64_t c = 0; c < C; c += L) {
    const auto k = static_cast<std::size_t>(std::min(L, C - c));
    sum = hn::MulAdd(vec::load_n(d, a + c, k), vec::load_n(d, b + c, k), sum);
  }
  return hn::GetLane(hn::SumOfLanes(d, sum));
}

/// to (=, +=) factor (a - along b); a scaled row where b is null.
HWY_INLINE void write_row(float* to, const float* a, const float* b, float along, float factor, std::int64_t C, bool add) {
  const hn::ScalableTag<float> d;
  const auto L = static_cast<std::int64_t>(hn::Lanes(d));
  for (std::int64_t c = 0; c < C; c += L) {
    const auto k = static_cast<std::size_t>(std::min(L, C - c));
    auto x = vec::load_n(d, a + c, k);
    if (b != nullptr) x = hn::NegMulAdd(hn::Set(d, along), vec::load_n(d, b + c, k), x);
    x = hn::Mul(hn::Set(d, factor), x);
    vec::store_n(add ? hn::Add(vec::load_n(d, to + c, k), x) : x, d, to + c, k);
  }
}

}  // namespace

void forward_rows(float* y, float* length, const float* x, std::int64_t rows, std::int64_t C, float epsilon) {
  for (std::int64_t n = 0; n < rows; ++n, x += C, y += C) {
    length[n] = std::sqrt(dot(x, x, C));
    write_row(y, x, nullptr, 0.0F, 1.0F / (length[n] < epsilon ? epsilon : length[n]), C, false);
  }
}

void backward_rows(float* dx, const float* dy, const float* y, const float* length, std::int64_t rows, std::int64_t C, bool add,
                   float epsilon) {
  for (std::int64_t n = 0; n < rows; ++n, dx += C, dy += C, y += C) {
    const bool tiny = length[n] < epsilon;
    write_row(dx, dy, tiny ? nullptr : y, tiny ? 0.0F : dot(y, dy, C), 1.0F / (tiny ? epsilon : length[n]), C, add);
  }
}

}  // namespace HWY_NAMESPACE
}  // namespace tradewind::kernels::cpu
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace tradewind::kernels::cpu {

HWY_EXPORT(forward_rows);
HWY_EXPORT(backward_rows);

void l2_normalize_forward(float* y, float* length, const float* x, std::int64_t N, std::int64_t C, float epsilon,
                          const Launch& launch) {
  parallel_pieces(N, rows_per_grain(C), launch.threads, [&](std::int64_t begin, std::int64_t end) {
    HWY_DYNAMIC_DISPATCH(forward_rows)(y + begin * C, length + begin, x + begin * C, end - begin, C, epsilon);
  });
}

void l2_normalize_backward(float* dx, const float* dy, const float* y, const float* length, std::int64_t N, std::int64_t C,
                           Write write, float epsilon, const Launch& launch) {
  parallel_pieces(N, rows_per_grain(C), launch.threads, [&](std::int64_t begin, std::int64_t end) {
    HWY_DYNAMIC_DISPATCH(backward_rows)
    (dx + begin * C, dy + begin * C, y + begin * C, length + begin, end - begin, C, write == Write::kAccumulate, epsilon);
  });
}

}  // namespace tradewind::kernels::cpu
#endif  // HWY_ONCE
