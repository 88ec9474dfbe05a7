// The CUDA execution model as small named functions: all that device code may include and call.
//
// Device code is written once and built by two compilers. nvcc takes ptx.cuh: each function is one or two PTX instructions. g++
// takes the executor of tests/simt: a CUDA thread is a fiber, and each function does what the PTX manual says it means, checks
// its use, and ends the kernel with block, thread, file and line where it was misused. Rules that make this work:
//   - a kernel is `TRADEWIND_KERNEL void f(...)` with trivially copyable parameters, started through launch(f, grid, block,
//     shared_bytes, stream, arguments...) (stream.cuh);
//   - shared memory is the one arena of shared_arena(); there is no static __shared__;
//   - global and shared memory are reached through load and store (or copies and ldmatrix), never by dereferencing;
//   - no floating-point atomics; no lane relies on another without sync_warp: shuffles and mma do not order memory.
//
// The interface, in terms of one thread:
//   thread_index() block_index() block_size() grid_size() lane() warp()     where am I
//   shared_arena()                                          16-byte aligned, as many bytes as the launch asked for
//   load(p) store(p, x)                                     naturally aligned; 1, 2, 4, 8 or 16 bytes
//   sync_block()                                            all threads of the block, at one place in the source
//   sync_named<id>(threads) arrive_named<id>(threads)       barriers 1 to 15 for whole warps: meet, or only be counted
//   sync_warp(mask)                                         orders the memory of the lanes in mask
//   shuffle(x, lane) shuffle_xor shuffle_up shuffle_down    x of another lane (32 or 64 bits)
//   vote_any vote_all ballot                                over the lanes in mask
//   copy_async(shared, global, valid)                       16 bytes that arrive later; !valid: zeros, global is not read
//   copy_async_commit() copy_async_wait<n>()                closes a group; waits for all groups but the last n (own thread's)
//   load_matrices(r, row) load_matrices_transposed(r, row)  ldmatrix: 1, 2 or 4 8 x 8 matrices of 16 bits, rows from lanes 8 i
//                                                           to 8 i + 7
//   mma_bfloat16(d, a, b)                                   d += a b, m16n8k16; fragments as in the PTX manual
//   mma_tf32(d, a, b)                                       d += a b, m16n8k8; the low 13 bits of a and b are not looked at
//   exp2_approximate log2_approximate                       2 units in the last place
//   reciprocal_approximate                                  1 unit in the last place; no subnormal results
//   to_float to_bfloat16 pack_bfloat16 float_bits from_bits conversions, round to nearest even
#pragma once

#include "kernels/cuda/device/types.cuh"

#if defined(__CUDACC__)
#include "kernels/cuda/device/ptx.cuh"
#else
#include <simt/device.h>  // tests/simt, on the include path of the tests only
#endif
