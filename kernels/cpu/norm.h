// CPU arms of kernels/norm.h. Arguments are checked.
#pragma once

#include "kernels/norm.h"

namespace tradewind::kernels::cpu {

/// Rows of one thread. residual null: plain norm of x, s unused. y null: only s = residual + dropout(x).
struct NormForwardRows {
  float* s;
  float* y;
  float* mean;
  float* rstd;
  const float* residual;
  const float* x;
  const float* weight;
  const float* bias;
  std::size_t N, C;
  float epsilon;
  PhiloxKey key;
  std::uint32_t threshold;  // 0: no dropout
  const std::uint64_t* sample;
  const std::int32_t* position;
  bool stream;  // write y past the cache
};

/// Rows of one thread. out = norm_backward(dy) + add (null: none); dy null: out = add. masked (null: none) = dropout(out).
struct NormBackwardRows {
  float* out;
  float* masked;
  float* dweight;  // [C], this thread's, added to; null: not wanted, and then dbias is too
  float* dbias;
  const float* dy;
  const float* add;
  const float* x;
  const float* mean;
  const float* rstd;
  const float* weight;
  std::size_t N, C;
  PhiloxKey key;
  std::uint32_t threshold;
  const std::uint64_t* sample;
  const std::int32_t* position;
  bool stream;  // write out past the cache
};

/// `rows` is of all rows; both split it over the launch's threads.
void norm_forward(const NormForwardRows& rows, NormKind kind, const Launch& launch);
/// dweight and dbias of `rows` are the results here, written as `write` says.
void norm_backward(const NormBackwardRows& rows, NormKind kind, Write write, const Launch& launch);

}  // namespace tradewind::kernels::cpu
