// The three heavy CUDA kernels against the roofline of the GPU at hand, and against PyTorch's times where a file has them.
//
//   device_benchmark [PEER]      PEER: what peer.py printed
//
// Times are medians of single launches between events, after three to warm up; bf16 for attention and the loss, float32 for
// tables. Prints a Markdown table. Without a GPU: says so, exit code 5. The sizes are those that published work reports, so
// that its figures can stand beside these.
#include <cuda_runtime.h>

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstdio>
#include <exception>
#include <functional>
#include <map>
#include <random>
#include <string>
#include <unordered_set>
#include <vector>

#include "kernels/cuda/attention.h"
#include "kernels/cuda/device/simt.cuh"
#include "kernels/cuda/device/stream.cuh"
#include "kernels/cuda/embedding_bag.h"
#include "kernels/cuda/linear_cross_entropy.h"
#include "tests/benchmarks/device/roofline.h"
#include "tests/cuda/gpu.h"
#include "tests/cuda/gpu_place.h"

namespace tradewind::benchmarks {
namespace {

using namespace tradewind::kernels;
using tests::check_gpu;
using tests::GpuPlace;

/// Uniform values in [-scale, scale), another for each element and seed: what a kernel draws in power depends on them.
template <class T>
TRADEWIND_KERNEL void fill_kernel(T* x, std::int64_t count, float scale, std::uint64_t seed) {
  const std::int64_t stride = std::int64_t{grid_size().x} * block_size().x;
  for (std::int64_t i = std::int64_t{block_index().x} * block_size().x + linear_thread(); i < count; i += stride) {
    const std::uint64_t bits = mix64(seed * 0x9E3779B97F4A7C15ULL + static_cast<std::uint64_t>(i));
    const float value = (static_cast<float>(bits >> 40) / 8388608.0F - 1.0F) * scale;
    if constexpr (sizeof(T) == 2)
      store(x + i, to_bfloat16(value));
    else
      store(x + i, value);
  }
}

class Benchmark {
 public:
  explicit Benchmark(const std::string& peer) : peer_(peer_times(peer)) {
    cudaMemPool_t pool = nullptr;
    std::uint64_t keep = ~std::uint64_t{0};  // or every launch asks the driver for its scratch
    check_gpu(cudaDeviceGetDefaultMemPool(&pool, 0));
    check_gpu(cudaMemPoolSetAttribute(pool, cudaMemPoolAttrReleaseThreshold, &keep));
    cudaDeviceProp properties{};
    check_gpu(cudaGetDeviceProperties(&properties, 0));
    roofline_ = roofline_of(properties.name);
    std::printf("%s, %d SMs, compute capability %d.%d", properties.name, properties.multiProcessorCount, properties.major,
                properties.minor);
    if (roofline_.tflops > 0)
      std::printf("; at most %.0f TFLOP/s in bf16, %.2f TB/s\n\n", roofline_.tflops, roofline_.terabytes);
    else
      std::printf("; its data sheet is not known here, so no fraction of the roofline\n\n");
    std::printf("| case | ms | rate | of the roofline | PyTorch, ms | ratio |\n|---|---|---|---|---|---|\n");
  }

  template <class T>
  T* random(std::int64_t count, float scale = 1.0F) {
    T* p = room<T>(count);
    launch(fill_kernel<T>, Index3{1024}, Index3{256}, 0, stream(), p, count, scale, ++seed_);
    return p;
  }
  template <class T>
  T* room(std::int64_t count) {
    owned_.push_back(launch_.scratch->acquire(static_cast<std::size_t>(count) * sizeof(T)));
    return static_cast<T*>(owned_.back());
  }
  template <class T>
  T* copy(const std::vector<T>& x) {
    owned_.push_back(place_.put(x.data(), x.size() * sizeof(T)));
    return static_cast<T*>(owned_.back());
  }
  void free_all() {
    for (void* p : owned_) place_.drop(p);
    owned_.clear();
    check_gpu(cudaStreamSynchronize(stream()));
  }

  /// Either flops or bytes is what bounds the case; the other is 0.
  void report(const std::string& name, double flops, double bytes, const std::function<void()>& call) {
    const double ms = median_ms(call);
    const double tera = (flops + bytes) / ms / 1e9, most = flops > 0 ? roofline_.tflops : roofline_.terabytes;
    std::printf("| %s | %.3f | %.*f %s |", name.c_str(), ms, flops > 0 ? 0 : 2, tera, flops > 0 ? "TFLOP/s" : "TB/s");
    if (most > 0)
      std::printf(" %.0f %% |", 100 * tera / most);
    else
      std::printf(" |");
    const auto peer = peer_.find(name);
    if (peer != peer_.end())
      std::printf(" %.3f | %.2f |\n", peer->second, peer->second / ms);
    else
      std::printf(" | |\n");
    std::fflush(stdout);
  }
  const Launch& at() const { return launch_; }
  cudaStream_t stream() const { return static_cast<cudaStream_t>(launch_.stream); }
  Launch at(const StepState& step) {
    Launch with = launch_;
    with.step = copy(std::vector<StepState>{step});
    return with;
  }

 private:
  double median_ms(const std::function<void()>& call) const {
    cudaEvent_t begin = nullptr, end = nullptr;
    check_gpu(cudaEventCreate(&begin));
    check_gpu(cudaEventCreate(&end));
    std::vector<float> times;
    for (int i = 0; i < 23; ++i) {
      check_gpu(cudaEventRecord(begin, stream()));
      call();
      check_gpu(cudaEventRecord(end, stream()));
      check_gpu(cudaEventSynchronize(end));
      float ms = 0;
      check_gpu(cudaEventElapsedTime(&ms, begin, end));
      if (i >= 3) times.push_back(ms);
    }
    cudaEventDestroy(begin);
    cudaEventDestroy(end);
    std::nth_element(times.begin(), times.begin() + 10, times.end());
    return times[10];
  }

  GpuPlace place_;
  Launch launch_ = place_.launch();
  Roofline roofline_;
  std::map<std::string, double> peer_;
  std::vector<void*> owned_;
  std::uint64_t seed_ = 0;
};

/// 16,384 tokens of 2,048 channels, as FlashAttention's papers have it.
void attention(Benchmark& b, std::int64_t S, std::int64_t D, bool causal) {
  const std::int64_t N = 16384, B = N / S, H = 2048 / D, C = H * D;
  std::vector<std::int64_t> offsets;
  for (std::int64_t i = 0; i <= B; ++i) offsets.push_back(i * S);
  const std::int64_t* at = b.copy(offsets);
  const AttentionShape shape{.B = B,
                             .q_offsets = at,
                             .k_offsets = at,
                             .max_q = S,
                             .max_k = S,
                             .H = H,
                             .H_kv = H,
                             .D = D,
                             .q_stride = C,
                             .k_stride = C,
                             .v_stride = C,
                             .out_stride = C};
  const AttentionOptions options{.scale = 1.0F / std::sqrt(static_cast<float>(D)), .causal = causal, .dtype = DType::kBFloat16};
  auto *q = b.random<BFloat16>(N * C), *k = b.random<BFloat16>(N * C), *v = b.random<BFloat16>(N * C),
       *dout = b.random<BFloat16>(N * C), *out = b.room<BFloat16>(N * C), *dq = b.room<BFloat16>(N * C),
       *dk = b.room<BFloat16>(N * C), *dv = b.room<BFloat16>(N * C);
  auto* lse = b.room<float>(N * H);
  const double flops = 4.0 * static_cast<double>(N * S * C) / (causal ? 2 : 1);
  const std::string name = "attention S" + std::to_string(S) + " D" + std::to_string(D) + (causal ? " causal" : " full");
  b.report(name + " forward", flops, 0,
           [&] { kernels::detail::attention_forward_cuda(out, lse, q, k, v, shape, options, b.at()); });
  b.report(name + " backward", 2.5 * flops, 0, [&] {
    kernels::detail::attention_backward_cuda(dq, dk, dv, nullptr, dout, out, lse, q, k, v, shape, options, b.at());
  });
  b.free_all();
}

/// 10 tables of 1.68 M rows of 128 float32, one id a bag, ids by a power law of exponent 1.05, the hot ones spread over the
/// table.
void embedding(Benchmark& b) {
  const std::int64_t T = 10, rows = 1'680'000, C = 128, N = 1'048'570, B = N / T;
  std::mt19937_64 random(1);
  const double power = 1 - 1.05, high = std::pow(static_cast<double>(rows), power);
  std::vector<std::int32_t> ids(static_cast<std::size_t>(N));
  std::unordered_set<std::int64_t> distinct;
  for (std::int64_t n = 0; n < N; ++n) {
    const double u = static_cast<double>(random() >> 11) * 0x1p-53;
    const auto rank = static_cast<std::int64_t>(std::pow((high - 1) * u + 1, 1 / power));
    ids[static_cast<std::size_t>(n)] = static_cast<std::int32_t>(std::clamp<std::int64_t>(rank - 1, 0, rows - 1) * 7919 % rows);
    distinct.insert(n / B * rows + ids[static_cast<std::size_t>(n)]);
  }
  std::vector<std::int64_t> row_offsets, bag_offsets;
  for (std::int64_t t = 0; t <= T; ++t) row_offsets.push_back(t * rows);
  for (std::int64_t n = 0; n <= N; ++n) bag_offsets.push_back(n);
  auto *table = b.random<float>(T * rows * C, 0.01F), *out = b.room<float>(N * C), *dout = b.random<float>(N * C, 0.01F);
  const BagShape shape{.T = T,
                       .B = B,
                       .C = C,
                       .V = T * rows,
                       .N = N,
                       .row_offsets = b.copy(row_offsets),
                       .bag_offsets = b.copy(bag_offsets),
                       .ids = b.copy(ids),
                       .stride = T * C};
  const Launch at = b.at(StepState{.learning_rate = 0.01F});
  const auto row = static_cast<double>(C * 4), count = static_cast<double>(N);
  const double forward = count * (2 * row + 12), back = count * (row + 158) + 2.0 * static_cast<double>(distinct.size()) * row;
  const auto look_up = [&] { kernels::detail::embedding_bag_forward_cuda(out, nullptr, table, shape, {}, at); };
  const auto update = [&] {
    kernels::detail::embedding_bag_update_cuda(table, nullptr, nullptr, dout, nullptr, shape, {}, Write::kAssign,
                                               {.kind = RowUpdateKind::kSgd}, at);
  };
  b.report("embedding forward", 0, forward, look_up);
  b.report("embedding forward and SGD", 0, forward + back, [&] {
    look_up();
    update();
  });
  b.report("embedding SGD", 0, back, update);
  b.free_all();
}

void loss(Benchmark& b) {
  const std::int64_t N = 8192, V = 131072, C = 4096;
  std::vector<std::int32_t> targets;
  for (std::int64_t n = 0; n < N; ++n) targets.push_back(static_cast<std::int32_t>(n * 7919 % V));
  auto *x = b.random<BFloat16>(N * C), *w = b.random<BFloat16>(V * C, 0.02F), *dx = b.room<BFloat16>(N * C);
  auto *dw = b.room<float>(V * C), *losses = b.room<float>(N);
  const std::int32_t* t = b.copy(targets);
  const Launch at = b.at(StepState{});
  LinearCrossEntropyOptions options;
  options.dtype = DType::kBFloat16;
  b.report("linear_cross_entropy", 6.0 * static_cast<double>(N * V) * static_cast<double>(C), 0, [&] {
    kernels::detail::linear_cross_entropy_cuda(losses, nullptr, nullptr, dx, dw, nullptr, x, w, nullptr, t, N, V, C,
                                               Write::kAssign, options, at);
  });
  b.free_all();
}

}  // namespace
}  // namespace tradewind::benchmarks

int main(int argc, char** argv) {
  using namespace tradewind;
  const std::string missing = tests::why_no_gpu();
  if (!missing.empty()) {
    std::fprintf(stderr, "device_benchmark: %s; nothing was measured\n", missing.c_str());
    return static_cast<int>(ExitCode::kDevice);
  }
  try {
    benchmarks::Benchmark b(argc > 1 ? argv[1] : "");
    for (const std::int64_t D : {64, 128})
      for (const std::int64_t S : {512, 1024, 2048, 4096, 8192, 16384})
        for (const bool causal : {true, false}) benchmarks::attention(b, S, D, causal);
    benchmarks::embedding(b);
    benchmarks::loss(b);
  } catch (const std::exception& error) {
    std::fprintf(stderr, "device_benchmark: %s\n", error.what());
    return static_cast<int>(ExitCode::kDevice);
  }
}
