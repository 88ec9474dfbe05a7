// simt.cuh for nvcc: PTX. Included by simt.cuh alone, which says what each function means. sm_80 and later.
#pragma once

#define TRADEWIND_KERNEL __global__
#define TRADEWIND_KERNEL_BOUNDS(threads, blocks) __global__ __launch_bounds__(threads, blocks)
#define TRADEWIND_DEVICE __device__ __forceinline__

namespace tradewind::kernels {

TRADEWIND_DEVICE Index3 thread_index() { return {threadIdx.x, threadIdx.y, threadIdx.z}; }
TRADEWIND_DEVICE Index3 block_index() { return {blockIdx.x, blockIdx.y, blockIdx.z}; }
TRADEWIND_DEVICE Index3 block_size() { return {blockDim.x, blockDim.y, blockDim.z}; }
TRADEWIND_DEVICE Index3 grid_size() { return {gridDim.x, gridDim.y, gridDim.z}; }
TRADEWIND_DEVICE int linear_thread() {
  return static_cast<int>(threadIdx.x + blockDim.x * (threadIdx.y + blockDim.y * threadIdx.z));
}
TRADEWIND_DEVICE int lane() { return linear_thread() % kWarpSize; }
TRADEWIND_DEVICE int warp() { return linear_thread() / kWarpSize; }

TRADEWIND_DEVICE std::byte* shared_arena() {
  extern __shared__ __align__(128) unsigned char arena[];
  return reinterpret_cast<std::byte*>(arena);
}

template <class T>
TRADEWIND_DEVICE T load(const T* p) {
  return *p;
}
TRADEWIND_DEVICE Vector16 load(const Vector16* p) {
  const uint4 x = *reinterpret_cast<const uint4*>(p);
  return {{x.x, x.y, x.z, x.w}};
}
template <class T>
TRADEWIND_DEVICE void store(T* p, T x) {
  *p = x;
}
TRADEWIND_DEVICE void store(Vector16* p, Vector16 x) {
  *reinterpret_cast<uint4*>(p) = make_uint4(x.w[0], x.w[1], x.w[2], x.w[3]);
}

TRADEWIND_DEVICE void sync_block() { __syncthreads(); }
TRADEWIND_DEVICE void sync_warp(std::uint32_t mask = kFullWarp) { __syncwarp(mask); }
template <int kId>
TRADEWIND_DEVICE void sync_named(int threads) {
  static_assert(kId >= 1 && kId <= 15, "barrier 0 is sync_block's");
  asm volatile("bar.sync %0, %1;" ::"n"(kId), "r"(threads) : "memory");
}
template <int kId>
TRADEWIND_DEVICE void arrive_named(int threads) {
  static_assert(kId >= 1 && kId <= 15, "barrier 0 is sync_block's");
  asm volatile("bar.arrive %0, %1;" ::"n"(kId), "r"(threads) : "memory");
}

template <class T>
TRADEWIND_DEVICE T shuffle(T x, int from, std::uint32_t mask = kFullWarp) {
  return __shfl_sync(mask, x, from);
}
template <class T>
TRADEWIND_DEVICE T shuffle_xor(T x, int bits, std::uint32_t mask = kFullWarp) {
  return __shfl_xor_sync(mask, x, bits);
}
template <class T>
TRADEWIND_DEVICE T shuffle_up(T x, int by, std::uint32_t mask = kFullWarp) {
  return __shfl_up_sync(mask, x, static_cast<unsigned>(by));
}
template <class T>
TRADEWIND_DEVICE T shuffle_down(T x, int by, std::uint32_t mask = kFullWarp) {
  return __shfl_down_sync(mask, x, static_cast<unsigned>(by));
}
TRADEWIND_DEVICE bool vote_any(bool x, std::uint32_t mask = kFullWarp) { return __any_sync(mask, x) != 0; }
TRADEWIND_DEVICE bool vote_all(bool x, std::uint32_t mask = kFullWarp) { return __all_sync(mask, x) != 0; }
TRADEWIND_DEVICE std::uint32_t ballot(bool x, std::uint32_t mask = kFullWarp) { return __ballot_sync(mask, x); }

TRADEWIND_DEVICE unsigned shared_address(const void* p) { return static_cast<unsigned>(__cvta_generic_to_shared(p)); }

TRADEWIND_DEVICE void copy_async(void* shared, const void* global, bool valid = true) {
  asm volatile("cp.async.cg.shared.global [%0], [%1], 16, %2;" ::"r"(shared_address(shared)), "l"(global), "r"(valid ? 16 : 0)
               : "memory");
}
TRADEWIND_DEVICE void copy_async_commit() { asm volatile("cp.async.commit_group;" ::: "memory"); }
template <int kLeft>
TRADEWIND_DEVICE void copy_async_wait() {
  asm volatile("cp.async.wait_group %0;" ::"n"(kLeft) : "memory");
}

TRADEWIND_DEVICE void load_matrices(std::uint32_t (&r)[1], const void* row) {
  asm volatile("ldmatrix.sync.aligned.m8n8.x1.shared.b16 {%0}, [%1];" : "=r"(r[0]) : "r"(shared_address(row)) : "memory");
}
TRADEWIND_DEVICE void load_matrices(std::uint32_t (&r)[2], const void* row) {
  asm volatile("ldmatrix.sync.aligned.m8n8.x2.shared.b16 {%0, %1}, [%2];"
               : "=r"(r[0]), "=r"(r[1])
               : "r"(shared_address(row))
               : "memory");
}
TRADEWIND_DEVICE void load_matrices(std::uint32_t (&r)[4], const void* row) {
  asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0, %1, %2, %3}, [%4];"
               : "=r"(r[0]), "=r"(r[1]), "=r"(r[2]), "=r"(r[3])
               : "r"(shared_address(row))
               : "memory");
}
TRADEWIND_DEVICE void load_matrices_transposed(std::uint32_t (&r)[1], const void* row) {
  asm volatile("ldmatrix.sync.aligned.m8n8.x1.trans.shared.b16 {%0}, [%1];" : "=r"(r[0]) : "r"(shared_address(row)) : "memory");
}
TRADEWIND_DEVICE void load_matrices_transposed(std::uint32_t (&r)[2], const void* row) {
  asm volatile("ldmatrix.sync.aligned.m8n8.x2.trans.shared.b16 {%0, %1}, [%2];"
               : "=r"(r[0]), "=r"(r[1])
               : "r"(shared_address(row))
               : "memory");
}
TRADEWIND_DEVICE void load_matrices_transposed(std::uint32_t (&r)[4], const void* row) {
  asm volatile("ldmatrix.sync.aligned.m8n8.x4.trans.shared.b16 {%0, %1, %2, %3}, [%4];"
               : "=r"(r[0]), "=r"(r[1]), "=r"(r[2]), "=r"(r[3])
               : "r"(shared_address(row))
               : "memory");
}

TRADEWIND_DEVICE void mma_bfloat16(float (&d)[4], const std::uint32_t (&a)[4], const std::uint32_t (&b)[2]) {
  asm("mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 {%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, {%0, %1, %2, %3};"
      : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3])
      : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]));
}
TRADEWIND_DEVICE void mma_tf32(float (&d)[4], const std::uint32_t (&a)[4], const std::uint32_t (&b)[2]) {
  asm("mma.sync.aligned.m16n8k8.row.col.f32.tf32.tf32.f32 {%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, {%0, %1, %2, %3};"
      : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3])
      : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]));
}

TRADEWIND_DEVICE float exp2_approximate(float x) {
  float y;
  asm("ex2.approx.ftz.f32 %0, %1;" : "=f"(y) : "f"(x));
  return y;
}
TRADEWIND_DEVICE float log2_approximate(float x) {
  float y;
  asm("lg2.approx.f32 %0, %1;" : "=f"(y) : "f"(x));
  return y;
}

TRADEWIND_DEVICE float reciprocal_approximate(float x) {
  float y;
  asm("rcp.approx.ftz.f32 %0, %1;" : "=f"(y) : "f"(x));
  return y;
}

TRADEWIND_DEVICE std::uint32_t round_tf32(float x) {
  std::uint32_t y;
  asm("cvt.rna.tf32.f32 %0, %1;" : "=r"(y) : "f"(x));
  return y;
}

TRADEWIND_DEVICE std::uint32_t float_bits(float x) { return __float_as_uint(x); }
TRADEWIND_DEVICE float from_bits(std::uint32_t x) { return __uint_as_float(x); }
TRADEWIND_DEVICE float to_float(BFloat16 x) { return __uint_as_float(std::uint32_t{x.bits} << 16); }
TRADEWIND_DEVICE float to_float(float x) { return x; }
/// Two in one register, `low` in its low half.
TRADEWIND_DEVICE std::uint32_t pack_bfloat16(float low, float high) {
  std::uint32_t y;
  asm("cvt.rn.bf16x2.f32 %0, %1, %2;" : "=r"(y) : "f"(high), "f"(low));
  return y;
}
TRADEWIND_DEVICE BFloat16 to_bfloat16(float x) { return {static_cast<std::uint16_t>(pack_bfloat16(x, 0.0F))}; }

}  // namespace tradewind::kernels
