// One layer of a recurrent network over packed sequences: GRU (Cho et al. 2014; the reset gate behind the product, as cuDNN and
// PyTorch have it) and LSTM (Hochreiter & Schmidhuber 1997, with the forget gate of Gers et al. 2000).
//
//   a_t = W_ih x_t + b_ih, all rows at once, by the caller (kernels/linear.h);  g_t = W_hh h_{t-1} + b_hh, step by step, here
//   GRU    r = sigmoid(a_r + g_r)  z = sigmoid(a_z + g_z)  n = tanh(a_n + r g_n)       h_t = (1 - z) n + z h_{t-1}
//   LSTM   i, f, o = sigmoid(a + g)  u = tanh(a_u + g_u)       c_t = f c_{t-1} + i u   h_t = o tanh(c_t)
//
// S sequences of N rows in all, of lengths that may differ and be 0; H channels of the state; G gates, 3 or 4, in PyTorch's
// order: r, z, n and i, f, u (which it calls g), o.
//
//   h [N, H], w_hh [G H, H], b_hh [G H], h0 [S, H]                         of dtype: float32, on a GPU also bfloat16
//   cell [N, H] (LSTM: c_t), c0 [S, H]                                     float32
//   gates [N, 4 H] of dtype, whose columns hold in turn
//     GRU   a_r a_z a_n -    before forward    r z n g_n    after it    da_r da_z da_n dg_n    after backward
//     LSTM  a_i a_f a_u a_o                    i f u o                  da_i da_f da_u da_o
//
// Saved for backward: gates, h and, of an LSTM, cell. Work: 2 G H H FLOPs a row forward, twice that backward. Deterministic:
// the bits of a row depend on its own sequence alone, on a CPU for any number of threads, and on a GPU with launch.stable_rows;
// those of the weights' gradients as kernels/linear.h says.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "kernels/base/launch.h"

namespace tradewind::kernels {

enum class RecurrentKind : std::uint8_t { kGru, kLstm };

constexpr std::int64_t recurrent_gates(RecurrentKind kind) { return kind == RecurrentKind::kGru ? 3 : 4; }

/// The order in which steps go through packed rows: with the longest sequence first, those that have a row at step t are the
/// first active[t] ones.
struct RecurrentOrder {
  std::int64_t S = 0, N = 0;
  std::vector<std::int64_t> table;   // [2, S]: a sequence's first row; which sequence it is. Equal lengths keep their order.
  std::vector<std::int64_t> active;  // [the longest length], not increasing
  std::int64_t steps() const { return static_cast<std::int64_t>(active.size()); }
};

/// offsets [S + 1], on the host: sequence s has rows offsets[s] to offsets[s + 1] - 1. Throws InternalError where they are
/// none.
RecurrentOrder recurrent_order(std::span<const std::int64_t> offsets);

struct RecurrentShape {
  RecurrentKind kind = RecurrentKind::kGru;
  std::int64_t H = 0;
  const RecurrentOrder* order = nullptr;
  const std::int64_t* table = nullptr;  // order->table where the kernel runs; on a CPU null means the order's own
  DType dtype = DType::kFloat32;
};

/// States before the first rows; null: zeros. c0 of an LSTM only.
struct RecurrentStart {
  const void* h0 = nullptr;
  const float* c0 = nullptr;
};

/// cell: null for a GRU. Reads and writes gates.
void recurrent_forward(void* h, float* cell, void* gates, const void* w_hh, const void* b_hh, const RecurrentStart& start,
                       const RecurrentShape& shape, const Launch& launch);

/// What backward computes beside the gates: dw and db (=, +=), in float32, of W_hh and b_hh; dh0 and dc0 [S, H] float32,
/// assigned, null where nobody asks.
struct RecurrentGradients {
  float *dw = nullptr, *db = nullptr;
  float *dh0 = nullptr, *dc0 = nullptr;
};

/// What forward has left, and the gradients of its outputs: dh [N, H] of dtype; dlast_cell [S, H] float32, of the cells after
/// each sequence's last row (of c0 where it has none), null: zeros.
struct RecurrentOutputs {
  const void *h = nullptr, *dh = nullptr;
  const float *cell = nullptr, *dlast_cell = nullptr;
};

/// Gates become their gradients: da is what the caller needs for x, W_ih and b_ih.
void recurrent_backward(const RecurrentGradients& to, void* gates, const RecurrentOutputs& of, const void* w_hh,
                        const RecurrentStart& start, const RecurrentShape& shape, Write write, const Launch& launch);

}  // namespace tradewind::kernels
