// What stands in for cuBLASLt and CUB on the executor: the meaning of kernels/cuda/device/library.cuh, every access checked.
#include "kernels/cuda/device/library.cuh"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <numeric>

#include "kernels/cuda/device/vector.cuh"
#include "tests/simt/machine.h"

namespace tradewind::kernels {
namespace {

using simt::Machine;
using simt::Span;

double value_at(const void* p, DType type, std::int64_t i) {
  return type == DType::kFloat32 ? to_float(static_cast<const float*>(p)[i]) : to_float(static_cast<const BFloat16*>(p)[i]);
}

/// The rows of a matrix, which need not touch.
std::vector<Span> spans_of(const void* p, DType type, std::int64_t rows, std::int64_t columns, std::int64_t stride) {
  std::vector<Span> spans;
  for (std::int64_t i = 0; i < rows && columns > 0; ++i)
    spans.push_back({static_cast<const std::byte*>(p) + static_cast<std::size_t>(i * stride) * size_of(type),
                     static_cast<std::size_t>(columns) * size_of(type)});
  return spans;
}

template <class T>
Span span_of(const T* p, std::int64_t count) {
  return {reinterpret_cast<const std::byte*>(p), static_cast<std::size_t>(count) * sizeof(T)};
}

void put_at(void* p, DType type, std::int64_t i, float value) {
  if (type == DType::kFloat32)
    static_cast<float*>(p)[i] = value;
  else
    static_cast<BFloat16*>(p)[i] = to_bfloat16(value);
}

double activated(double x, Activation activation) {
  if (activation == Activation::kRelu) return x < 0 ? 0 : x;
  if (activation == Activation::kNone) return x;
  return 0.5 * x * (1 + std::tanh(0.7978845608028654 * (x + 0.044715 * x * x * x)));
}

void multiply(void* c, DType c_type, const void* a, const void* b, DType type, const GemmShape& s, const GemmEpilogue& e) {
  for (std::int64_t i = 0; i < s.m; ++i)
    for (std::int64_t j = 0; j < s.n; ++j) {
      double sum = 0;
      for (std::int64_t x = 0; x < s.k; ++x)
        sum += value_at(a, type, s.a_transposed ? x * s.a_stride + i : i * s.a_stride + x) *
               value_at(b, type, s.b_transposed ? j * s.b_stride + x : x * s.b_stride + j);
      const std::int64_t at = i * s.c_stride + j;
      double result = s.alpha * sum + (s.beta == 0.0F ? 0.0 : s.beta * value_at(c, c_type, at));
      if (e.bias != nullptr) result += value_at(e.bias, c_type, j);
      if (e.before != nullptr) put_at(e.before, c_type, at, static_cast<float>(result));
      put_at(c, c_type, at, static_cast<float>(activated(result, e.activation)));
    }
}

}  // namespace

void gemm(void* c, DType c_type, const void* a, const void* b, DType type, const GemmShape& s, const Launch& launch,
          const GemmEpilogue& e) {
  if (s.m == 0 || s.n == 0) return;
  require(gemm_has(e.activation, e.before != nullptr, c_type), "gemm", "no such epilogue");
  if (e.bias != nullptr || e.activation != Activation::kNone)
    require(vectors_fit({a, b, c, e.bias, e.before}, {s.a_stride, s.b_stride, s.c_stride}, c_type), "gemm",
            "an epilogue wants whole vectors");
  std::vector<Span> reads = spans_of(a, type, s.a_transposed ? s.k : s.m, s.a_transposed ? s.m : s.k, s.a_stride);
  const std::vector<Span> right = spans_of(b, type, s.b_transposed ? s.n : s.k, s.b_transposed ? s.k : s.n, s.b_stride);
  std::vector<Span> result = spans_of(c, c_type, s.m, s.n, s.c_stride);
  reads.insert(reads.end(), right.begin(), right.end());
  if (s.beta != 0.0F) reads.insert(reads.end(), result.begin(), result.end());
  if (e.bias != nullptr) reads.push_back(spans_of(e.bias, c_type, 1, s.n, s.n)[0]);
  if (e.before != nullptr) {
    const std::vector<Span> before = spans_of(e.before, c_type, s.m, s.n, s.c_stride);
    result.insert(result.end(), before.begin(), before.end());
  }
  Machine::current().enqueue_library(
      "gemm", reads, result, [=] { multiply(c, c_type, a, b, type, s, e); }, launch.stream);
}

namespace {

template <class Key, class Value>
void sort(Key* keys_out, Value* values_out, const Key* keys, const Value* values, std::int64_t count, int bits,
          const Launch& launch) {
  if (count == 0) return;
  Machine::current().enqueue_library(
      "sort_pairs", {span_of(keys, count), span_of(values, count)}, {span_of(keys_out, count), span_of(values_out, count)},
      [=] {
        const Key mask = bits >= static_cast<int>(8 * sizeof(Key)) ? ~Key{0} : (Key{1} << bits) - 1;
        std::vector<std::int64_t> order(static_cast<std::size_t>(count));
        std::iota(order.begin(), order.end(), 0);
        std::stable_sort(order.begin(), order.end(), [&](auto x, auto y) { return (keys[x] & mask) < (keys[y] & mask); });
        for (std::int64_t i = 0; i < count; ++i) {
          keys_out[i] = keys[order[static_cast<std::size_t>(i)]];
          values_out[i] = values[order[static_cast<std::size_t>(i)]];
        }
      },
      launch.stream);
}

}  // namespace

void sort_pairs(std::uint64_t* keys_out, std::int32_t* values_out, const std::uint64_t* keys, const std::int32_t* values,
                std::int64_t count, int bits, const Launch& launch) {
  sort(keys_out, values_out, keys, values, count, bits, launch);
}
void sort_pairs(std::uint32_t* keys_out, std::uint32_t* values_out, const std::uint32_t* keys, const std::uint32_t* values,
                std::int64_t count, int bits, const Launch& launch) {
  sort(keys_out, values_out, keys, values, count, bits, launch);
}

void exclusive_sum(std::int64_t* out, const std::int64_t* in, std::int64_t count, const Launch& launch) {
  if (count == 0) return;
  Machine::current().enqueue_library(
      "exclusive_sum", {span_of(in, count)}, {span_of(out, count)},
      [=] { std::exclusive_scan(in, in + count, out, std::int64_t{0}); }, launch.stream);
}

void inclusive_sum(std::uint32_t* out, const std::uint32_t* in, std::int64_t count, const Launch& launch) {
  if (count == 0) return;
  Machine::current().enqueue_library(
      "inclusive_sum", {span_of(in, count)}, {span_of(out, count)}, [=] { std::partial_sum(in, in + count, out); },
      launch.stream);
}

}  // namespace tradewind::kernels
