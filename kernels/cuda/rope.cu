// Rotary position embedding on NVIDIA GPUs, in place. Mathematics and shapes: kernels/rope.h. N rows of `heads` heads of D
// elements, P = D / 2 pairs a head.
//
// Bound by memory: 2 N heads D sizeof(T) bytes, each element read and written once. 8,192 tokens with 40 heads (q and k) of 128
// in bfloat16 are 168 MB: 50 us at the H100's 3.35 TB/s, 35 at the H200's 4.8 TB/s; bounds, not measurements: none of this has
// run on a GPU yet. The angles cost N P times about 60 float64 operations: for the same tokens 31 M, 2 us of an H100's float64.
//
// So angles are computed where they are needed: a block takes as many rows as give it 256 pairs, a thread computes the cosine
// and sine of one (in float64, rounded once, as the contract says) into shared memory, 8 bytes a pair; after a barrier the
// threads go over the heads of these rows, 16 bytes at a time (two vectors of a head in the half layout, one in the
// interleaved), and read the angles of their pairs from there. All heads of a row share its angles. About 40 registers, 2 KiB:
// 6 blocks of 256 threads an SM with 48 to 192 KiB under way.
//
// cos and sin in float64 would fall back to local memory for large arguments in CUDA's library; ours takes off multiples of pi
// / 2 in two parts (Cody and Waite 1980, chapter 8: exact to 1e-16 of a turn for positions below 2^31) and sums Taylor's series
// on
// [-pi / 4, pi / 4], 4e-13 at worst. No element has two writers.
#include "kernels/cuda/rope.h"

#include <algorithm>
#include <cmath>
#include <string>

#include "kernels/base/error.h"
#include "kernels/cuda/device/elementwise.cuh"

namespace tradewind::kernels::detail {
namespace {

constexpr int kThreads = 256;

/// A kernel's parameter: shapes, and what a frequency is: 2^(pair * exponent).
struct RopeView {
  const std::int32_t* position;
  std::int64_t N, stride;
  double exponent;
  float sign;
  int heads, D, rows;  // rows of a block
};

struct Turn {
  float cosine, sine;
};

TRADEWIND_DEVICE Turn turn_by(double angle) {
  const double quarters = rint(angle * 0.63661977236758134);
  const double r = fma(-quarters, 6.123233995736766e-17, fma(-quarters, 1.5707963267948966, angle)), s = r * r;
  const double odd =
      fma(s, fma(s, fma(s, fma(s, fma(s, 1.0 / 6227020800, -1.0 / 39916800), 1.0 / 362880), -1.0 / 5040), 1.0 / 120), -1.0 / 6);
  const double even =
      fma(s, fma(s, fma(s, fma(s, fma(s, 1.0 / 479001600, -1.0 / 3628800), 1.0 / 40320), -1.0 / 720), 1.0 / 24), -0.5);
  const double sine = fma(r * s, odd, r), cosine = fma(s, even, 1.0);
  const int quarter = static_cast<int>(static_cast<std::int64_t>(quarters) & 3);
  const double c = quarter % 2 == 0 ? cosine : sine, d = quarter % 2 == 0 ? sine : cosine;
  return {static_cast<float>(quarter == 1 || quarter == 2 ? -c : c), static_cast<float>(quarter >= 2 ? -d : d)};
}

/// kCount floats from shared memory.
template <int kCount>
TRADEWIND_DEVICE void load_angles(float (&x)[kCount], const float* from) {
  if constexpr (kCount % 4 == 0) {
#pragma unroll
    for (int i = 0; i < kCount; i += 4) {  // 16 bytes at a time: no two lanes of a quarter warp meet in a bank
      const Vector16 v = load(reinterpret_cast<const Vector16*>(from + i));
#pragma unroll
      for (int j = 0; j < 4; ++j) x[i + j] = from_bits(v.w[j]);
    }
  } else {
#pragma unroll
    for (int i = 0; i < kCount; ++i) x[i] = load(from + i);
  }
}

TRADEWIND_DEVICE void rotate(float& a, float& b, float cosine, float sine) {
  const float keep = a;
  a = keep * cosine - b * sine;
  b = b * cosine + keep * sine;
}

/// kAligned: vectors of 16 bytes; else pair by pair.
template <class T, bool kHalf, bool kAligned>
TRADEWIND_KERNEL_BOUNDS(kThreads, 4)
void rope_kernel(T* x, RopeView a) {
  constexpr int kPer = kAligned ? kPerVector<T> : 1, kPairs = !kAligned ? 1 : kHalf ? kPer : kPer / 2;
  const int P = a.D / 2;
  const std::int64_t first = std::int64_t{block_index().x} * a.rows;
  const int rows = static_cast<int>(a.N - first < a.rows ? a.N - first : a.rows);
  auto* cosines = reinterpret_cast<float*>(shared_arena());
  float* sines = cosines + a.rows * P;
  for (int i = linear_thread(); i < rows * P; i += kThreads) {
    const Turn turn = turn_by(load(a.position + first + i / P) * exp2(i % P * a.exponent));
    store(cosines + i, turn.cosine);
    store(sines + i, a.sign * turn.sine);
  }
  sync_block();
  const int vectors = P / kPairs;  // of a head, or of its half
#pragma unroll 2
  for (int i = linear_thread(); i < rows * a.heads * vectors; i += kThreads) {
    const int pair = i % vectors * kPairs, head = i / vectors % a.heads, row = i / vectors / a.heads;
    T* at = x + (first + row) * a.stride + std::int64_t{head} * a.D;
    float cosine[kPairs], sine[kPairs];
    load_angles(cosine, cosines + row * P + pair);
    load_angles(sine, sines + row * P + pair);
    if constexpr (!kAligned) {
      T *p = at + (kHalf ? pair : 2 * pair), *q = kHalf ? p + P : p + 1;
      float u = to_float(load(p)), v = to_float(load(q));
      rotate(u, v, cosine[0], sine[0]);
      store_one(p, u);
      store_one(q, v);
    } else if constexpr (kHalf) {
      float u[kPer], v[kPer];
      load_values(u, at + pair, kPer, true);
      load_values(v, at + P + pair, kPer, true);
#pragma unroll
      for (int j = 0; j < kPairs; ++j) rotate(u[j], v[j], cosine[j], sine[j]);
      store_values(at + pair, u, kPer, true);
      store_values(at + P + pair, v, kPer, true);
    } else {
      float u[kPer];
      load_values(u, at + 2 * pair, kPer, true);
#pragma unroll
      for (int j = 0; j < kPairs; ++j) rotate(u[2 * j], u[2 * j + 1], cosine[j], sine[j]);
      store_values(at + 2 * pair, u, kPer, true);
    }
  }
}

}  // namespace

void rope_apply_cuda(void* x, const std::int32_t* position, std::int64_t N, std::int64_t heads, std::int64_t D,
                     std::int64_t stride, const RopeOptions& o, const Launch& at) {
  constexpr const char* kOp = "rope_apply";
  constexpr std::int64_t kMost = 8192;  // 32 KiB of angles
  if (D > kMost)
    throw DeviceError(std::string(kOp) + ": heads of " + std::to_string(D) + " elements; the CUDA kernel has up to " +
                      std::to_string(kMost) + ": take more heads, or set device = \"cpu\"");
  const std::int64_t rows = std::max<std::int64_t>(1, kThreads / (D / 2));
  const RopeView a{.position = position,
                   .N = N,
                   .stride = stride,
                   .exponent = -2.0 * std::log2(o.theta) / static_cast<double>(D),
                   .sign = o.backward ? -1.0F : 1.0F,
                   .heads = static_cast<int>(heads),
                   .D = static_cast<int>(D),
                   .rows = static_cast<int>(rows)};
  with_element(kOp, o.dtype, [&](auto element) {
    using T = decltype(element);
    const bool half = o.layout == RopeLayout::kHalf;
    const bool aligned = vectors_fit({x}, {stride, half ? D / 2 : D}, o.dtype);
    const auto run = [&](auto kernel) {
      launch(kernel, grid_of(kOp, (N + rows - 1) / rows), Index3{kThreads}, static_cast<std::size_t>(rows * D) * sizeof(float),
             at.stream, static_cast<T*>(x), a);
    };
    if (half)
      aligned ? run(rope_kernel<T, true, true>) : run(rope_kernel<T, true, false>);
    else
      aligned ? run(rope_kernel<T, false, true>) : run(rope_kernel<T, false, false>);
  });
}

}  // namespace tradewind::kernels::detail
