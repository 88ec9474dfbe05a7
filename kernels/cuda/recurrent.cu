// A recurrent layer on NVIDIA GPUs: a product by cuBLASLt and one kernel over the gates a step. Mathematics, shapes and the
// order of the rows: kernels/recurrent.h. S sequences, T steps, H channels, G gates.
//
// A step's `active` sequences are the first ones of the order, so its product is [active, H] x [H, G H] of states that lie side
// by side in scratch, and a thread has one channel of one sequence: it finds the row through the order's table, reads what was
// made of x and the product, and writes gates, h and the next state. Back the same: the kernel turns gates into their
// gradients, and the product [active, G H] x [G H, H] adds to what it left of the state's gradient.
//
// Bound by launches where the layer is small: 2 T of them and as many back, 3 us each, 0.3 ms for 50 steps, beside 0.6 GFLOP
// forward of a GRU of 128 sequences and channels, 10 us at the 67 TFLOP/s of float32 of the H100 and H200. Where S H is 10^6
// and more, by memory: the gates' pass moves 12 H elements a row, for 10^6 in float32 48 MB a step: 14 us at the H100's 3.35
// TB/s, 10 at the H200's 4.8. A persistent kernel with W_hh in shared memory (128 channels in bfloat16: 96 KiB) would do
// without the launches. Bounds, not measurements: none of this has run on a GPU yet.
//
// The state goes on in float32, whatever the elements: in bfloat16 an update of less than 0.4 % would be lost. Deterministic:
// one writer an element, products in the order of the steps; products as kernels/cuda/linear.cu says.
#include "kernels/cuda/recurrent.h"

#include <cmath>
#include <limits>
#include <type_traits>

#include "kernels/base/error.h"
#include "kernels/cuda/device/activations.cuh"
#include "kernels/cuda/device/elementwise.cuh"
#include "kernels/cuda/device/library.cuh"
#include "kernels/cuda/linear.h"

namespace tradewind::kernels::detail {
namespace {

/// One step, as the kernels see it.
struct StepView {
  const std::int64_t* table;  // [2, S]
  std::int64_t S, t;
  int active, continuing, H;  // those that have a row at step t, and at t + 1
};

/// Channel c of sequence i in the order.
struct StepPlace {
  int i, c;
};
TRADEWIND_DEVICE StepPlace step_place(const StepView& s) {
  const unsigned at = block_index().x * kElementThreads + static_cast<unsigned>(linear_thread());
  return {static_cast<int>(at / static_cast<unsigned>(s.H)), static_cast<int>(at % static_cast<unsigned>(s.H))};
}
TRADEWIND_DEVICE std::int64_t row_of(const StepView& s, int i) { return load(s.table + i) + s.t; }
TRADEWIND_DEVICE std::int64_t sequence_of(const StepView& s, int i) { return load(s.table + s.S + i); }

/// The value before the row: x of the row before it, or x0 (null: 0).
template <class T>
TRADEWIND_DEVICE float value_before(const StepView& s, const StepPlace& at, std::int64_t row, const T* x, const T* x0) {
  if (s.t > 0) return to_float(load(x + (row - 1) * s.H + at.c));
  return x0 == nullptr ? 0.0F : to_float(load(x0 + sequence_of(s, at.i) * s.H + at.c));
}

/// state and operand [active, H]: h0 in the order, in float32 and as the product takes it.
template <class T>
TRADEWIND_KERNEL void recurrent_start_kernel(float* state, T* operand, const T* h0, StepView s) {
  const StepPlace at = step_place(s);
  if (at.i >= s.active) return;
  const float x = to_float(load(h0 + sequence_of(s, at.i) * s.H + at.c));
  const std::int64_t place = static_cast<std::int64_t>(at.i) * s.H + at.c;
  if constexpr (!std::is_same_v<T, float>) store(state + place, x);
  store_one(operand + place, x);
}

/// product [active, 3 H], its rows `stride` apart; state holds h_{t-1}, zeros where `begins`. For float32 operand is state.
template <class T>
TRADEWIND_KERNEL void gru_forward_kernel(T* h, T* gates, float* state, T* operand, const T* product, std::int64_t stride,
                                         int begins, StepView s) {
  const StepPlace at = step_place(s);
  if (at.i >= s.active) return;
  const std::int64_t row = row_of(s, at.i), place = static_cast<std::int64_t>(at.i) * s.H + at.c;
  T* a = gates + row * 4 * s.H + at.c;
  const T* g = product + at.i * stride + at.c;
  const float r = sigmoid(to_float(load(a)) + to_float(load(g)));
  const float z = sigmoid(to_float(load(a + s.H)) + to_float(load(g + s.H)));
  const float hidden = to_float(load(g + 2 * s.H));
  const float n = tanhf(to_float(load(a + 2 * s.H)) + r * hidden);
  const float was = begins != 0 ? 0.0F : load(state + place);
  const float y = n + z * (was - n);
  store_one(a, r);
  store_one(a + s.H, z);
  store_one(a + 2 * s.H, n);
  store_one(a + 3 * s.H, hidden);
  store_one(h + row * s.H + at.c, y);
  if constexpr (!std::is_same_v<T, float>) store(state + place, y);
  store_one(operand + place, y);
}

/// product [active, 4 H].
template <class T>
TRADEWIND_KERNEL void lstm_forward_kernel(T* h, float* cell, T* gates, T* operand, const T* product, std::int64_t stride,
                                          const float* c0, StepView s) {
  const StepPlace at = step_place(s);
  if (at.i >= s.active) return;
  const std::int64_t row = row_of(s, at.i);
  T* a = gates + row * 4 * s.H + at.c;
  const T* g = product + at.i * stride + at.c;
  const float i = sigmoid(to_float(load(a)) + to_float(load(g)));
  const float f = sigmoid(to_float(load(a + s.H)) + to_float(load(g + s.H)));
  const float u = tanhf(to_float(load(a + 2 * s.H)) + to_float(load(g + 2 * s.H)));
  const float o = sigmoid(to_float(load(a + 3 * s.H)) + to_float(load(g + 3 * s.H)));
  const float now = f * value_before<float>(s, at, row, cell, c0) + i * u, y = o * tanhf(now);
  store_one(a, i);
  store_one(a + s.H, f);
  store_one(a + 2 * s.H, u);
  store_one(a + 3 * s.H, o);
  store(cell + row * s.H + at.c, now);
  store_one(h + row * s.H + at.c, y);
  store_one(operand + static_cast<std::int64_t>(at.i) * s.H + at.c, y);
}

/// state [active, H]: in, the gradient that the next step sends back to h_t, of those that have one; out, what h_{t-1} gets
/// beside the product. product [active, 3 H] receives dg, previous [N, H] h_{t-1}.
template <class T>
TRADEWIND_KERNEL void gru_backward_kernel(T* previous, T* product, float* state, T* gates, const T* dh, const T* h, const T* h0,
                                          StepView s) {
  const StepPlace at = step_place(s);
  if (at.i >= s.active) return;
  const std::int64_t row = row_of(s, at.i), place = static_cast<std::int64_t>(at.i) * s.H + at.c;
  T *a = gates + row * 4 * s.H + at.c, *g = product + static_cast<std::int64_t>(at.i) * 3 * s.H + at.c;
  const float r = to_float(load(a)), z = to_float(load(a + s.H)), n = to_float(load(a + 2 * s.H)),
              hidden = to_float(load(a + 3 * s.H));
  const float was = value_before<T>(s, at, row, h, h0);
  const float dy = to_float(load(dh + row * s.H + at.c)) + (at.i < s.continuing ? load(state + place) : 0.0F);
  const float dn = dy * (1.0F - z) * (1.0F - n * n), dz = dy * (was - n) * z * (1.0F - z);
  const float dr = dn * hidden * r * (1.0F - r), dhidden = dn * r;
  store_one(a, dr);
  store_one(a + s.H, dz);
  store_one(a + 2 * s.H, dn);
  store_one(a + 3 * s.H, dhidden);
  store_one(g, dr);
  store_one(g + s.H, dz);
  store_one(g + 2 * s.H, dhidden);
  store(state + place, dy * z);
  store_one(previous + row * s.H + at.c, was);
}

/// The same with product [active, 4 H]; state is only read. dcell [active, H] carries the gradient of c_t.
template <class T>
TRADEWIND_KERNEL void lstm_backward_kernel(T* previous, T* product, const float* state, float* dcell, T* gates, const T* dh,
                                           const T* h, const T* h0, const float* cell, const float* c0, const float* dlast_cell,
                                           StepView s) {
  const StepPlace at = step_place(s);
  if (at.i >= s.active) return;
  const std::int64_t row = row_of(s, at.i), place = static_cast<std::int64_t>(at.i) * s.H + at.c;
  T *a = gates + row * 4 * s.H + at.c, *g = product + static_cast<std::int64_t>(at.i) * 4 * s.H + at.c;
  const float i = to_float(load(a)), f = to_float(load(a + s.H)), u = to_float(load(a + 2 * s.H)),
              o = to_float(load(a + 3 * s.H));
  float dy = to_float(load(dh + row * s.H + at.c)), along = 0.0F;
  if (at.i < s.continuing) {
    dy += load(state + place);
    along = load(dcell + place);
  } else if (dlast_cell != nullptr) {
    along = load(dlast_cell + sequence_of(s, at.i) * s.H + at.c);
  }
  const float bent = tanhf(load(cell + row * s.H + at.c)), dc = dy * o * (1.0F - bent * bent) + along;
  const float d[4] = {dc * u * i * (1.0F - i), dc * value_before<float>(s, at, row, cell, c0) * f * (1.0F - f),
                      dc * i * (1.0F - u * u), dy * bent * o * (1.0F - o)};
#pragma unroll
  for (int k = 0; k < 4; ++k) {
    store_one(a + k * s.H, d[k]);
    store_one(g + k * s.H, d[k]);
  }
  store(dcell + place, dc * f);
  store_one(previous + row * s.H + at.c, value_before<T>(s, at, row, h, h0));
}

/// x0 [S, H] from rows in the order, those behind the active ones from `rest` [S, H] or 0. s.t is 0.
TRADEWIND_KERNEL void recurrent_start_gradient_kernel(float* x0, const float* rows, const float* rest, StepView s) {
  const StepPlace at = step_place(s);
  if (at.i >= s.S) return;
  const std::int64_t to = sequence_of(s, at.i) * s.H + at.c;
  float x = 0.0F;
  if (at.i < s.active)
    x = load(rows + static_cast<std::int64_t>(at.i) * s.H + at.c);
  else if (rest != nullptr)
    x = load(rest + to);
  store(x0 + to, x);
}

Index3 step_grid(const char* op, std::int64_t sequences, std::int64_t H) {
  if (sequences * H > std::numeric_limits<std::int32_t>::max())
    throw DeviceError(std::string(op) + ": a step of " + std::to_string(sequences) + " sequences of " + std::to_string(H) +
                      " channels is more than the kernel counts; lower train.micro_batch");
  return grid_of(op, (sequences * H + kElementThreads - 1) / kElementThreads);
}

StepView view_of(const RecurrentShape& s, std::int64_t t) {
  const auto& active = s.order->active;
  const auto at = [&](std::int64_t step) {
    return step < s.order->steps() ? static_cast<int>(active[static_cast<std::size_t>(step)]) : 0;
  };
  return {s.table, s.order->S, t, at(t), at(t + 1), static_cast<int>(s.H)};
}

template <class T>
void forward(T* h, float* cell, T* gates, const T* w_hh, const T* b_hh, const RecurrentStart& start, const RecurrentShape& s,
             const Launch& launch_at) {
  constexpr const char* kOp = "recurrent_forward";
  const std::int64_t H = s.H, GH = recurrent_gates(s.kind) * H, most = s.order->active[0];
  const auto* h0 = static_cast<const T*>(start.h0);
  const ScratchArray<float> state(launch_at, static_cast<std::size_t>(most * H));
  const ScratchArray<T> narrow(launch_at, sizeof(T) == sizeof(float) ? 0 : static_cast<std::size_t>(most * H));
  T* operand = nullptr;
  if constexpr (std::is_same_v<T, float>)
    operand = state.get();
  else
    operand = narrow.get();
  const ScratchArray<T> product(launch_at, static_cast<std::size_t>(most * GH));
  const Index3 threads{kElementThreads};
  if (h0 != nullptr)
    launch(recurrent_start_kernel<T>, step_grid(kOp, most, H), threads, 0, launch_at.stream, state.get(), operand, h0,
           view_of(s, 0));
  for (std::int64_t t = 0; t < s.order->steps(); ++t) {
    const StepView step = view_of(s, t);
    const bool nothing = t == 0 && h0 == nullptr;  // before it: the product is its bias
    if (!nothing)
      linear_forward_cuda(product.get(), nullptr, operand, w_hh, b_hh, {.M = step.active, .N = GH, .K = H, .ldx = H, .ldy = GH},
                          {.dtype = s.dtype}, launch_at);
    const T* g = nothing ? b_hh : product.get();
    const std::int64_t stride = nothing ? 0 : GH;
    const Index3 grid = step_grid(kOp, step.active, H);
    if (s.kind == RecurrentKind::kGru)
      launch(gru_forward_kernel<T>, grid, threads, 0, launch_at.stream, h, gates, state.get(), operand, g, stride,
             nothing ? 1 : 0, step);
    else
      launch(lstm_forward_kernel<T>, grid, threads, 0, launch_at.stream, h, cell, gates, operand, g, stride, start.c0, step);
  }
}

template <class T>
void backward(T* previous, const RecurrentGradients& to, T* gates, const RecurrentOutputs& of, const T* w_hh,
              const RecurrentStart& start, const RecurrentShape& s, const Launch& launch_at) {
  constexpr const char* kOp = "recurrent_backward";
  const bool gru = s.kind == RecurrentKind::kGru;
  const std::int64_t H = s.H, GH = recurrent_gates(s.kind) * H, steps = s.order->steps();
  const auto most = static_cast<std::size_t>(steps == 0 ? 0 : s.order->active[0]);
  const auto *dh = static_cast<const T*>(of.dh), *h = static_cast<const T*>(of.h), *h0 = static_cast<const T*>(start.h0);
  const ScratchArray<float> state(launch_at, most * static_cast<std::size_t>(H)),
      dcell(launch_at, gru ? 0 : most * static_cast<std::size_t>(H));
  const ScratchArray<T> product(launch_at, most * static_cast<std::size_t>(GH));
  const Index3 threads{kElementThreads};
  for (std::int64_t t = steps; t-- > 0;) {
    const StepView step = view_of(s, t);
    const Index3 grid = step_grid(kOp, step.active, H);
    if (gru)
      launch(gru_backward_kernel<T>, grid, threads, 0, launch_at.stream, previous, product.get(), state.get(), gates, dh, h, h0,
             step);
    else
      launch(lstm_backward_kernel<T>, grid, threads, 0, launch_at.stream, previous, product.get(),
             static_cast<const float*>(state.get()), dcell.get(), gates, dh, h, h0, of.cell, start.c0, of.dlast_cell, step);
    if (t == 0 && to.dh0 == nullptr) continue;
    gemm(state.get(), DType::kFloat32, product.get(), w_hh, s.dtype,
         {.m = step.active, .n = H, .k = GH, .a_stride = GH, .b_stride = H, .c_stride = H, .beta = gru ? 1.0F : 0.0F},
         launch_at);
  }
  const auto give = [&](float* x0, const float* rows, const float* rest) {
    if (x0 != nullptr && s.order->S > 0)
      launch(recurrent_start_gradient_kernel, step_grid(kOp, s.order->S, H), threads, 0, launch_at.stream, x0, rows, rest,
             view_of(s, 0));
  };
  give(to.dh0, state.get(), nullptr);
  give(to.dc0, dcell.get(), of.dlast_cell);
}

}  // namespace

void recurrent_forward_cuda(void* h, float* cell, void* gates, const void* w_hh, const void* b_hh, const RecurrentStart& start,
                            const RecurrentShape& s, const Launch& launch_at) {
  with_element("recurrent_forward", s.dtype, [&](auto element) {
    using T = decltype(element);
    forward(static_cast<T*>(h), cell, static_cast<T*>(gates), static_cast<const T*>(w_hh), static_cast<const T*>(b_hh), start,
            s, launch_at);
  });
}

void recurrent_backward_cuda(void* previous, const RecurrentGradients& to, void* gates, const RecurrentOutputs& of,
                             const void* w_hh, const RecurrentStart& start, const RecurrentShape& s, const Launch& launch_at) {
  with_element("recurrent_backward", s.dtype, [&](auto element) {
    using T = decltype(element);
    backward(static_cast<T*>(previous), to, static_cast<T*>(gates), of, static_cast<const T*>(w_hh), start, s, launch_at);
  });
}

}  // namespace tradewind::kernels::detail
