// Built twice: by g++ on the executor (conformance_simt.cpp) and by nvcc for a GPU. Every check has one kernel and its
// expectation.
#include <cmath>
#include <cstring>
#include <functional>
#include <tuple>

#include "kernels/cuda/device/library.cuh"
#include "kernels/cuda/device/simt.cuh"
#include "kernels/cuda/device/stream.cuh"
#include "tests/simt/conformance.h"
#include "tests/support/device_place.h"

namespace tradewind::tests {
namespace {

using namespace tradewind::kernels;

/// A device array that goes when the scope does. The host copies are whole.
template <class T>
class Array {
 public:
  Array(std::size_t count, Stream s)
      : count_(count), stream_(s), data_(static_cast<T*>(device_allocate(count * sizeof(T), s))) {
    fill_bytes(data_, 0, count * sizeof(T), s);
  }
  Array(const std::vector<T>& values, Stream s) : Array(values.size(), s) {
    copy_to_device(data_, values.data(), values.size() * sizeof(T), s);
    stream_synchronize(s);
  }
  ~Array() { device_free(data_, stream_); }
  Array(const Array&) = delete;
  Array& operator=(const Array&) = delete;
  T* get() const { return data_; }
  std::vector<T> values() const {
    std::vector<T> out(count_);
    copy_to_host(out.data(), data_, count_ * sizeof(T), stream_);
    stream_synchronize(stream_);
    return out;
  }

 private:
  std::size_t count_;
  Stream stream_;
  T* data_;
};

template <class T>
std::string compare(const std::vector<T>& got, const std::vector<T>& expected) {
  for (std::size_t i = 0; i < expected.size(); ++i)
    if (!(got[i] == expected[i]))
      return "element " + std::to_string(i) + " is " + std::to_string(got[i]) + ", expected " + std::to_string(expected[i]);
  return got.size() == expected.size() ? "" : "the sizes differ";
}

std::string compare(const std::vector<float>& got, const std::vector<double>& expected, double tolerance) {
  for (std::size_t i = 0; i < expected.size(); ++i)
    if (!(std::abs(got[i] - expected[i]) <= tolerance * (1 + std::abs(expected[i]))))
      return "element " + std::to_string(i) + " is " + std::to_string(got[i]) + ", expected " + std::to_string(expected[i]);
  return "";
}

/// Runs a kernel that writes `count` elements, given the array and further arguments.
template <class T, class... Parameters, class... Arguments>
std::vector<T> results(std::size_t count, Index3 grid, Index3 block, std::size_t shared, void (*kernel)(T*, Parameters...),
                       const Arguments&... arguments) {
  const Stream s = stream_create();
  std::vector<T> out;
  {
    const Array<T> array(count, s);
    launch(kernel, grid, block, shared, s, array.get(), arguments...);
    out = array.values();
  }
  stream_synchronize(s);
  stream_destroy(s);
  return out;
}

TRADEWIND_KERNEL void indices(unsigned* out) {
  const Index3 t = thread_index(), b = block_index(), n = block_size(), g = grid_size();
  const unsigned linear = t.x + n.x * (t.y + n.y * t.z), block = b.x + g.x * (b.y + g.y * b.z);
  const bool right = static_cast<unsigned>(lane()) == linear % 32 && static_cast<unsigned>(warp()) == linear / 32;
  store(out + block * n.x * n.y * n.z + linear, right ? block * 1000 + linear : 7U);
}
std::string check_indices() {
  std::vector<unsigned> expected;
  for (unsigned b = 0; b < 12; ++b)
    for (unsigned t = 0; t < 120; ++t) expected.push_back(b * 1000 + t);
  return compare(results<unsigned>(1440, {3, 2, 2}, {4, 6, 5}, 0, indices), expected);
}

// Values of 1 to 16 bytes, through shared memory.
TRADEWIND_KERNEL void widths(std::uint32_t* out) {
  std::byte* arena = shared_arena();
  const unsigned t = thread_index().x;
  store(reinterpret_cast<std::uint8_t*>(arena) + t, static_cast<std::uint8_t>(t));
  store(reinterpret_cast<std::uint16_t*>(arena + 64) + t, static_cast<std::uint16_t>(t * 3));
  store(reinterpret_cast<std::uint64_t*>(arena + 256) + t, std::uint64_t{t} << 33);
  store(reinterpret_cast<Vector16*>(arena + 1024) + t, Vector16{{t, t + 1, t + 2, t + 3}});
  sync_block();
  const unsigned u = 31 - t;
  const Vector16 v = load(reinterpret_cast<const Vector16*>(arena + 1024) + u);
  const std::uint64_t wide = load(reinterpret_cast<const std::uint64_t*>(arena + 256) + u);
  store(out + t, load(reinterpret_cast<const std::uint8_t*>(arena) + u) +
                     load(reinterpret_cast<const std::uint16_t*>(arena + 64) + u) + static_cast<std::uint32_t>(wide >> 33) +
                     v.w[0] + v.w[1] + v.w[2] + v.w[3]);
}
std::string check_widths() {
  std::vector<std::uint32_t> expected;
  for (std::uint32_t t = 0; t < 32; ++t) expected.push_back((31 - t) * 9 + 6);
  return compare(results<std::uint32_t>(32, {1}, {32}, 2048, widths), expected);
}

// Each thread reads what its neighbour wrote, forty rounds.
TRADEWIND_KERNEL void barriers(int* out) {
  auto* x = reinterpret_cast<int*>(shared_arena());
  const int t = linear_thread(), n = static_cast<int>(block_size().x);
  store(x + t, t);
  for (int round = 0; round < 40; ++round) {
    sync_block();
    const int next = load(x + (t + 1) % n);
    sync_block();
    store(x + t, next + 1);
  }
  sync_block();
  store(out + t, load(x + t));
}
std::string check_barriers() {
  std::vector<int> expected;
  for (int t = 0; t < 96; ++t) expected.push_back((t + 40) % 96 + 40);
  return compare(results<int>(96, {1}, {96}, 96 * 4, barriers), expected);
}

// Warp 0 makes, warps 1 and 2 use: "full" 1 and "empty" 2, as in a warp-specialised kernel.
TRADEWIND_KERNEL void named_barriers(int* out) {
  auto* x = reinterpret_cast<int*>(shared_arena());
  int sum = 0;
  for (int round = 0; round < 5; ++round) {
    if (warp() == 0) {
      if (round > 0) sync_named<2>(96);
      store(x + lane(), round * 100 + lane());
      arrive_named<1>(96);
    } else {
      sync_named<1>(96);
      sum += load(x + 31 - lane());
      if (round < 4) arrive_named<2>(96);
    }
  }
  store(out + linear_thread(), sum);
}
std::string check_named_barriers() {
  std::vector<int> expected(32, 0);
  for (int t = 32; t < 96; ++t) expected.push_back(1000 + 5 * (31 - t % 32));
  return compare(results<int>(96, {1}, {96}, 128, named_barriers), expected);
}

TRADEWIND_KERNEL void shuffles(int* out) {
  const int l = lane();
  const std::uint32_t half = l < 16 ? 0x0000FFFFU : 0xFFFF0000U;
  int x = shuffle(l * 10, (l + 5) % 32);
  x += 1000 * shuffle_xor(l, 7);
  x += 100000 * shuffle_up(l, 3);
  store(out + l, x);
  const std::int64_t wide = shuffle_down(std::int64_t{l} << 40, 2);
  const float f = shuffle_xor(static_cast<float>(l), 1, half);
  store(out + 32 + l, static_cast<int>(wide >> 40) * 100 + static_cast<int>(f));
}
std::string check_shuffles() {
  std::vector<int> expected;
  for (int l = 0; l < 32; ++l) expected.push_back((l + 5) % 32 * 10 + 1000 * (l ^ 7) + 100000 * (l < 3 ? l : l - 3));
  for (int l = 0; l < 32; ++l) expected.push_back((l > 29 ? l : l + 2) * 100 + (l ^ 1));
  return compare(results<int>(64, {1}, {32}, 0, shuffles), expected);
}

TRADEWIND_KERNEL void votes(std::uint32_t* out) {
  const int l = lane();
  std::uint32_t x = ballot(l % 3 == 0);
  if (vote_any(l == 17) && !vote_any(l == 40) && vote_all(l < 32) && !vote_all(l != 9)) x ^= 1;
  if (l < 8) x += ballot(l % 2 == 0, 0xFFU);
  sync_warp();
  store(out + l, x);
}
std::string check_votes() {
  std::vector<std::uint32_t> expected;
  for (int l = 0; l < 32; ++l) expected.push_back((0x49249249U ^ 1U) + (l < 8 ? 0x55U : 0U));
  return compare(results<std::uint32_t>(32, {1}, {32}, 0, votes), expected);
}

// Two groups in flight; every fourth copy is of nothing and gives zeros.
TRADEWIND_KERNEL void copies(std::uint32_t* out, const std::uint32_t* in) {
  std::byte* arena = shared_arena();
  const int t = linear_thread();
  for (int group = 0; group < 2; ++group) {
    copy_async(arena + (group * 64 + t) * 16, in + (group * 64 + t) * 4, t % 4 != 3);
    copy_async_commit();
  }
  copy_async_wait<1>();
  sync_block();
  store(out + t, load(reinterpret_cast<const std::uint32_t*>(arena) + 4 * (63 - t) + 1));
  copy_async_wait<0>();
  sync_block();
  store(out + 64 + t, load(reinterpret_cast<const std::uint32_t*>(arena) + 4 * (127 - t) + 2));
}
std::string check_copies() {
  std::vector<std::uint32_t> in, expected;
  for (std::uint32_t i = 0; i < 512; ++i) in.push_back(i + 1);
  for (std::uint32_t t = 0; t < 64; ++t) expected.push_back((63 - t) % 4 == 3 ? 0 : 4 * (63 - t) + 2);
  for (std::uint32_t t = 0; t < 64; ++t) expected.push_back((63 - t) % 4 == 3 ? 0 : 4 * (127 - t) + 3);
  const Array<std::uint32_t> source(in, nullptr);
  stream_synchronize(nullptr);
  return compare(results<std::uint32_t>(128, {1}, {64}, 2048, copies, source.get()), expected);
}

// A 32 x 8 matrix of 16-bit values i: registers of each lane, plain then transposed, of 1, 2 and 4 matrices.
TRADEWIND_KERNEL void matrices(std::uint32_t* out) {
  auto* x = reinterpret_cast<std::uint16_t*>(shared_arena());
  const int l = lane();
  for (int i = 0; i < 8; ++i) store(x + 8 * l + i, static_cast<std::uint16_t>(8 * l + i));
  sync_warp();
  std::uint32_t one[1], two[2], four[4];
  load_matrices(one, x + 8 * l);
  load_matrices_transposed(two, x + 8 * l);
  for (int i = 0; i < 2; ++i) store(out + (1 + i) * 32 + l, two[i]);
  store(out + l, one[0]);
  load_matrices(four, x + 8 * l);
  for (int i = 0; i < 4; ++i) store(out + (3 + i) * 32 + l, four[i]);
  load_matrices_transposed(four, x + 8 * l);
  for (int i = 0; i < 4; ++i) store(out + (7 + i) * 32 + l, four[i]);
  load_matrices_transposed(one, x + 8 * l);
  store(out + 11 * 32 + l, one[0]);
  load_matrices(two, x + 8 * l);
  for (int i = 0; i < 2; ++i) store(out + (12 + i) * 32 + l, two[i]);
}
std::string check_matrices() {
  std::vector<std::uint32_t> expected;
  const auto add = [&](std::uint32_t count, bool transposed) {
    for (std::uint32_t m = 0; m < count; ++m)
      for (std::uint32_t l = 0; l < 32; ++l) {
        const std::uint32_t a = l / 4, b = 2 * (l % 4), plain = 64 * m + 8 * a + b, first = 64 * m + 8 * b + a;
        expected.push_back(transposed ? first | (first + 8) << 16 : plain | (plain + 1) << 16);
      }
  };
  add(1, false), add(2, true), add(4, false), add(4, true), add(1, true), add(2, false);
  return compare(results<std::uint32_t>(14 * 32, {1}, {32}, 512, matrices), expected);
}

// d = 0.5 + a b with a [16, K] and b [K, 8] given as small numbers that bf16 and tf32 hold exactly; tf32 operands carry bits
// below.
TRADEWIND_DEVICE float a_at(int m, int k) { return static_cast<float>((m * 7 + k * 3) % 13 - 6); }
TRADEWIND_DEVICE float b_at(int k, int n) { return static_cast<float>((k * 5 + n * 11) % 9 - 4) * 0.25F; }
TRADEWIND_KERNEL void mma_bf16(float* out) {
  const int g = lane() / 4, t = lane() % 4;
  std::uint32_t a[4], b[2];
  for (int i = 0; i < 4; ++i) {
    const int m = g + 8 * (i % 2), k = 2 * t + 8 * (i / 2);
    a[i] = pack_bfloat16(a_at(m, k), a_at(m, k + 1));
  }
  for (int i = 0; i < 2; ++i) b[i] = pack_bfloat16(b_at(2 * t + 8 * i, g), b_at(2 * t + 8 * i + 1, g));
  float d[4] = {0.5F, 0.5F, 0.5F, 0.5F};
  mma_bfloat16(d, a, b);
  for (int i = 0; i < 4; ++i) store(out + (g + 8 * (i / 2)) * 8 + 2 * t + i % 2, d[i]);
}
TRADEWIND_KERNEL void mma_single(float* out) {
  const int g = lane() / 4, t = lane() % 4;
  std::uint32_t a[4], b[2];
  for (int i = 0; i < 4; ++i) a[i] = float_bits(a_at(g + 8 * (i % 2), t + 4 * (i / 2))) | 0x1FFFU;
  for (int i = 0; i < 2; ++i) b[i] = float_bits(b_at(t + 4 * i, g)) | 0x1FFFU;
  float d[4] = {0.5F, 0.5F, 0.5F, 0.5F};
  mma_tf32(d, a, b);
  for (int i = 0; i < 4; ++i) store(out + (g + 8 * (i / 2)) * 8 + 2 * t + i % 2, d[i]);
}
std::string check_mma(void (*kernel)(float*), int depth) {
  std::vector<float> expected;
  for (int m = 0; m < 16; ++m)
    for (int n = 0; n < 8; ++n) {
      float d = 0.5F;
      for (int k = 0; k < depth; ++k)
        d += static_cast<float>((m * 7 + k * 3) % 13 - 6) * static_cast<float>((k * 5 + n * 11) % 9 - 4) * 0.25F;
      expected.push_back(d);
    }
  return compare(results<float>(128, {1}, {32}, 0, kernel), expected);
}

// Bits of bf16 conversions (rounding to even, carries, infinity, NaN), and the approximate functions.
TRADEWIND_KERNEL void conversions(std::uint32_t* out, const std::uint32_t* in) {
  const int t = linear_thread();
  const float x = from_bits(load(in + t));
  store(out + t, pack_bfloat16(x, to_float(to_bfloat16(x))));
}
std::string check_conversions() {
  const std::vector<std::uint32_t> in = {0x3F800000, 0x3F808000, 0x3F818000, 0x3F807FFF, 0x3F808001, 0x3FFFFFFF,
                                         0x80000000, 0xBF80C000, 0x7F7FFFFF, 0x7F800000, 0xFF800000, 0x7FC00000,
                                         0x00010000, 0x00008001, 0x42F6E979, 0xC2F6E979};
  const std::vector<std::uint32_t> half = {0x3F80, 0x3F80, 0x3F82, 0x3F80, 0x3F81, 0x4000, 0x8000, 0xBF81,
                                           0x7F80, 0x7F80, 0xFF80, 0x7FFF, 0x0001, 0x0001, 0x42F7, 0xC2F7};
  std::vector<std::uint32_t> expected;
  for (const std::uint32_t h : half) expected.push_back(h | h << 16);
  const Array<std::uint32_t> source(in, nullptr);
  stream_synchronize(nullptr);
  return compare(results<std::uint32_t>(16, {1}, {16}, 0, conversions, source.get()), expected);
}
TRADEWIND_KERNEL void tf32(std::uint32_t* out, const std::uint32_t* in) {
  const std::uint32_t bits = round_tf32(from_bits(load(in + linear_thread())));
  store(out + linear_thread(), bits & 0xFFFFE000U);
}
std::string check_tf32() {
  const std::vector<std::uint32_t> in = {0x3F800000, 0x3F800FFF, 0x3F801000, 0x3F803000,
                                         0xBF801FFF, 0x7F800000, 0x7FFFFFFF, 0x00000000};
  const std::vector<std::uint32_t> expected = {0x3F800000, 0x3F800000, 0x3F802000, 0x3F804000,
                                               0xBF802000, 0x7F800000, 0x7FFFE000, 0};
  const Array<std::uint32_t> source(in, nullptr);
  stream_synchronize(nullptr);
  return compare(results<std::uint32_t>(8, {1}, {8}, 0, tf32, source.get()), expected);
}
TRADEWIND_KERNEL void approximations(float* out) {
  const int t = linear_thread();
  store(out + t, exp2_approximate(static_cast<float>(t - 16) * 0.37F));
  store(out + 32 + t, log2_approximate(static_cast<float>(t + 1) * 0.37F));
  store(out + 64 + t, reciprocal_approximate(static_cast<float>(t - 16) * 0.37F));
}
std::string check_approximations() {
  std::vector<double> expected;
  for (int t = 0; t < 32; ++t) expected.push_back(std::exp2(static_cast<double>(static_cast<float>(t - 16) * 0.37F)));
  for (int t = 0; t < 32; ++t) expected.push_back(std::log2(static_cast<double>(static_cast<float>(t + 1) * 0.37F)));
  for (int t = 0; t < 32; ++t) expected.push_back(1 / static_cast<double>(static_cast<float>(t - 16) * 0.37F));
  std::vector<float> got = results<float>(96, {1}, {32}, 0, approximations);
  if (!(got[80] == INFINITY)) return "1 / 0 is " + std::to_string(got[80]);
  got[80] = 0, expected[80] = 0;
  return compare(got, expected, 1e-6);
}

TRADEWIND_KERNEL void add(int* x, const int* by, int count) {
  const int i = static_cast<int>(block_index().x * block_size().x) + linear_thread();
  if (i < count) store(x + i, load(x + i) + load(by));
}

std::string check_streams() {
  const Stream first = stream_create(), second = stream_create();
  const Event made = event_create(), used = event_create();
  std::string problem;
  {
    const Array<int> x(100, first), by(std::vector<int>{5}, first);
    launch(add, Index3{4}, Index3{32}, 0, first, x.get(), by.get(), 100);
    event_record(made, first);
    event_wait(second, made);
    launch(add, Index3{4}, Index3{32}, 0, second, x.get(), by.get(), 100);
    event_record(used, second);
    event_wait(first, used);
    problem = compare(x.values(), std::vector<int>(100, 10));
  }
  stream_synchronize(first);
  event_destroy(made), event_destroy(used), stream_destroy(first), stream_destroy(second);
  return problem;
}

std::string check_graphs() {  // what changes between replays is read from device memory
  const Stream s = stream_create();
  std::string problem;
  {
    const Array<int> x(40, s), by(std::vector<int>{1}, s);
    stream_synchronize(s);
    capture_begin(s);
    launch(add, Index3{2}, Index3{32}, 0, s, x.get(), by.get(), 40);
    launch(add, Index3{2}, Index3{32}, 0, s, x.get(), by.get(), 40);
    const Graph graph = capture_end(s);
    int value = 0;
    for (const int step : {1, 10, 100}) {
      stream_synchronize(s);
      value = step;
      copy_to_device(by.get(), &value, sizeof value, s);
      graph_launch(graph, s);
    }
    problem = compare(x.values(), std::vector<int>(40, 222));
    graph_destroy(graph);
  }
  stream_synchronize(s);
  stream_destroy(s);
  return problem;
}

class StreamScratch final : public Scratch {
 public:
  explicit StreamScratch(Stream s) : stream_(s) {}
  void* acquire(std::size_t bytes) override { return device_allocate(bytes, stream_); }
  void release(void* pointer, std::size_t) noexcept override { device_free(pointer, stream_); }

 private:
  Stream stream_;
};

// Every pair of layouts, strides wider than rows, alpha and beta, from aligned addresses and from odd elements; small numbers,
// whose sums are exact in any order.
std::string check_gemm() {
  StreamScratch scratch(nullptr);
  const Launch launch_at{.device = {.type = DeviceType::kCuda}, .scratch = &scratch};
  for (int layout = 0; layout < 4; ++layout)
    for (const std::int64_t first : {0, 1}) {
      GemmShape s{.m = 24, .n = 16, .k = 40, .a_stride = 0, .b_stride = 0, .c_stride = 20};
      s.a_transposed = layout % 2 == 1, s.b_transposed = layout / 2 == 1;
      s.a_stride = (s.a_transposed ? s.m : s.k) + 4, s.b_stride = (s.b_transposed ? s.k : s.n) + 8;
      s.alpha = 0.5F, s.beta = 2.0F;
      std::vector<float> a(static_cast<std::size_t>(44 * 44 + 1)), b(static_cast<std::size_t>(48 * 48 + 1)),
          c(static_cast<std::size_t>(24 * 20 + 1));
      for (std::size_t i = 0; i < a.size(); ++i) a[i] = static_cast<float>(i * 7 % 11) - 5.0F;
      for (std::size_t i = 0; i < b.size(); ++i) b[i] = static_cast<float>(i * 5 % 13) - 6.0F;
      for (std::size_t i = 0; i < c.size(); ++i) c[i] = static_cast<float>(i % 17);
      std::vector<float> expected = c;
      for (std::int64_t i = 0; i < s.m; ++i)
        for (std::int64_t j = 0; j < s.n; ++j) {
          float sum = 0;
          for (std::int64_t x = 0; x < s.k; ++x)
            sum += a[static_cast<std::size_t>(first + (s.a_transposed ? x * s.a_stride + i : i * s.a_stride + x))] *
                   b[static_cast<std::size_t>(first + (s.b_transposed ? j * s.b_stride + x : x * s.b_stride + j))];
          float& e = expected[static_cast<std::size_t>(first + i * s.c_stride + j)];
          e = 0.5F * sum + 2.0F * e;
        }
      const Array<float> left(a, nullptr), right(b, nullptr), result(c, nullptr);
      gemm(result.get() + first, DType::kFloat32, left.get() + first, right.get() + first, DType::kFloat32, s, launch_at);
      const std::string problem = compare(result.values(), expected);
      if (!problem.empty()) return "layout " + std::to_string(layout) + ": " + problem;
    }
  return "";
}

// Bias and activation at once, in bfloat16; c's rows wider than they need be, and what is between them left alone.
std::string check_epilogues() {
  StreamScratch scratch(nullptr);
  const Launch launch_at{.device = {.type = DeviceType::kCuda}, .scratch = &scratch};
  const GemmShape s{.m = 24, .n = 16, .k = 8, .a_stride = 8, .b_stride = 8, .c_stride = 24, .b_transposed = true};
  const auto half = [](double x) { return BFloat16{bfloat16_of(static_cast<float>(x))}; };
  const auto whole = [](BFloat16 x) { return double{float_of_bfloat16(x.bits)}; };
  std::vector<BFloat16> a(24 * 8), b(16 * 8), bias(16), nothing(24 * 24, half(9));
  for (std::size_t i = 0; i < a.size(); ++i) a[i] = half(static_cast<double>(i * 7 % 5) / 4 - 0.5);
  for (std::size_t i = 0; i < b.size(); ++i) b[i] = half(static_cast<double>(i * 5 % 7) / 4 - 0.75);
  for (std::size_t i = 0; i < bias.size(); ++i) bias[i] = half(static_cast<double>(i % 9) / 8 - 0.5);
  const Array<BFloat16> left(a, nullptr), right(b, nullptr), added(bias, nullptr);
  for (const auto& [activation, with_bias, keep] : {std::tuple{Activation::kNone, true, false},
                                                    {Activation::kRelu, false, false},
                                                    {Activation::kRelu, true, false},
                                                    {Activation::kGeluTanh, false, false},
                                                    {Activation::kGeluTanh, true, false},
                                                    {Activation::kGeluTanh, false, true},
                                                    {Activation::kGeluTanh, true, true}}) {
    const Array<BFloat16> result(nothing, nullptr), before(nothing, nullptr);
    gemm(result.get(), DType::kBFloat16, left.get(), right.get(), DType::kBFloat16, s, launch_at,
         {.bias = with_bias ? added.get() : nullptr, .activation = activation, .before = keep ? before.get() : nullptr});
    const std::vector<BFloat16> got = result.values(), kept = before.values();
    for (std::size_t i = 0; i < 24; ++i)
      for (std::size_t j = 0; j < 24; ++j) {
        double x = with_bias && j < 16 ? whole(bias[j]) : 0;
        for (std::size_t k = 0; k < 8 && j < 16; ++k) x += whole(a[i * 8 + k]) * whole(b[j * 8 + k]);
        const double gelu = 0.5 * x * (1 + std::tanh(0.7978845608028654 * (x + 0.044715 * x * x * x)));
        const double y = activation == Activation::kNone ? x : activation == Activation::kRelu ? std::max(x, 0.0) : gelu;
        const double error = std::abs(whole(got[i * 24 + j]) - (j < 16 ? y : 9)),
                     before_error = std::abs(whole(kept[i * 24 + j]) - (keep && j < 16 ? x : 9));
        if (!(error <= 1e-2 * std::max(1.0, std::abs(y))) || !(before_error <= 4e-3 * std::max(1.0, std::abs(x))))
          return "activation " + std::to_string(static_cast<int>(activation)) + (with_bias ? " bias" : "") +
                 (keep ? " kept" : "") + " at " + std::to_string(i) + ", " + std::to_string(j);
      }
  }
  return "";
}

template <class Key, class Value>
std::string check_sort(const Launch& launch_at) {
  std::vector<Key> keys;
  std::vector<Value> values, sorted_values;
  for (Value i = 0; i < 1000; ++i) keys.push_back(static_cast<Key>(i * 7919 % 13)), values.push_back(i);
  for (Key key = 0; key < 13; ++key)
    for (Value i = 0; i < 1000; ++i)
      if (keys[static_cast<std::size_t>(i)] == key) sorted_values.push_back(i);
  const Array<Key> in(keys, nullptr), out(1000, nullptr);
  const Array<Value> in_values(values, nullptr), out_values(1000, nullptr);
  sort_pairs(out.get(), out_values.get(), in.get(), in_values.get(), 1000, 4, launch_at);
  return compare(out_values.values(), sorted_values);
}

template <class T, class Sum>
std::string check_sum(bool inclusive, const Sum& sum_of) {
  std::vector<T> terms, sums;
  T sum = 0;
  for (T i = 0; i < 5000; ++i) {
    terms.push_back(i * i % 97);
    sums.push_back(inclusive ? sum + terms.back() : sum);
    sum += terms.back();
  }
  const Array<T> given(terms, nullptr), summed(5000, nullptr);
  sum_of(summed.get(), given.get());
  return compare(summed.values(), sums);
}

std::string check_sort_and_sum() {
  StreamScratch scratch(nullptr);
  const Launch launch_at{.device = {.type = DeviceType::kCuda}, .scratch = &scratch};
  std::string problem = check_sort<std::uint64_t, std::int32_t>(launch_at);
  if (problem.empty()) problem = check_sort<std::uint32_t, std::uint32_t>(launch_at);
  if (!problem.empty()) return "sort_pairs: " + problem;
  problem = check_sum<std::int64_t>(
      false, [&](std::int64_t* out, const std::int64_t* in) { exclusive_sum(out, in, 5000, launch_at); });
  if (!problem.empty()) return "exclusive_sum: " + problem;
  return check_sum<std::uint32_t>(
      true, [&](std::uint32_t* out, const std::uint32_t* in) { inclusive_sum(out, in, 5000, launch_at); });
}

std::string check_memory() {
  const DeviceFacts facts = device_facts(0);
  if (facts.devices < 1 || facts.major < 8 || facts.driver == 0 || facts.runtime == 0 || facts.name.empty())
    return "the facts of this device are not those of one that can be used";
  if (device_facts(facts.devices).major != 0) return "a device that is not there has a compute capability";
  constexpr std::size_t kBytes = 4096;
  auto* block = static_cast<std::uint8_t*>(block_allocate(kBytes));
  auto* pinned = static_cast<std::uint8_t*>(pinned_allocate(kBytes));
  const DeviceMemory memory = device_memory();
  std::string problem;
  if (block == nullptr || reinterpret_cast<std::uintptr_t>(block) % 256 != 0) problem = "a block is not aligned to 256 bytes";
  if (memory.free > memory.total - kBytes) problem = "more memory is free than can be";
  if (!device_owns(block + 1) || device_owns(pinned) || device_owns(&memory)) problem = "device_owns is wrong";
  const Stream s = stream_create();
  const Event e = event_create();
  if (!event_done(e)) problem = "an event that nothing was recorded in is not done";
  // Rows of 3 bytes out of rows of 8 go to rows of 5: bytes 8 r + 2 to 8 r + 4 to 256 + 5 r.
  for (std::size_t i = 0; i < kBytes; ++i) pinned[i] = static_cast<std::uint8_t>(i * 7);
  copy_to_device(block, pinned, 256, s);
  copy_rows(block + 256, 5, block + 2, 8, 3, 20, s);
  copy_rows(block + 1024, 1, block, 1, 0, 9, s);
  copy_to_host(pinned + 2048, block + 256, 3, s);
  for (std::size_t r = 1; r < 20; ++r) copy_to_host(pinned + 2048 + 3 * r, block + 256 + 5 * r, 3, s);
  event_record(e, s);
  while (!event_done(e)) continue;
  event_synchronize(e);
  for (std::size_t r = 0; r < 20; ++r)
    for (std::size_t i = 0; i < 3; ++i)
      if (pinned[2048 + 3 * r + i] != static_cast<std::uint8_t>((8 * r + 2 + i) * 7))
        problem = "byte " + std::to_string(i) + " of row " + std::to_string(r) + " is wrong";
  event_destroy(e);
  stream_destroy(s);
  pinned_free(pinned);
  block_free(block);
  return problem;
}

}  // namespace

std::vector<Outcome> check_conformance() {
  return {{"indices", check_indices()},
          {"load and store of 1 to 16 bytes", check_widths()},
          {"sync_block", check_barriers()},
          {"named barriers", check_named_barriers()},
          {"shuffles", check_shuffles()},
          {"votes", check_votes()},
          {"copy_async", check_copies()},
          {"load_matrices", check_matrices()},
          {"mma_bfloat16", check_mma(mma_bf16, 16)},
          {"mma_tf32", check_mma(mma_single, 8)},
          {"bfloat16 conversions", check_conversions()},
          {"round_tf32", check_tf32()},
          {"exp2, log2 and reciprocal", check_approximations()},
          {"streams and events", check_streams()},
          {"captured steps", check_graphs()},
          {"memory, copies of rows, events", check_memory()},
          {"gemm", check_gemm()},
          {"gemm's epilogues", check_epilogues()},
          {"sort_pairs, exclusive_sum and inclusive_sum", check_sort_and_sum()}};
}

}  // namespace tradewind::tests
