#include "kernels/recurrent.h"

#include <algorithm>
#include <numeric>

#include "kernels/base/dispatch.h"
#include "kernels/cpu/recurrent.h"
#include "kernels/cuda/recurrent.h"
#include "kernels/linear.h"

namespace tradewind::kernels {
namespace {

/// Checks what both directions are given and fills in the table.
RecurrentShape checked(const char* op, RecurrentShape s, const RecurrentStart& start, const Launch& launch) {
  require(s.order != nullptr && s.H >= 1, op, "there must be an order of the rows, and H must be at least 1");
  require(launch.threads >= 1, op, "launch.threads must be at least 1");
  require(s.kind == RecurrentKind::kLstm || start.c0 == nullptr, op, "a GRU has no cell");
  require_float32_on_cpu(op, launch, s.dtype);
  if (!kHasCuda && launch.device.type == DeviceType::kCuda) throw_no_cuda(op);
  if (launch.device.type == DeviceType::kCpu && s.table == nullptr) s.table = s.order->table.data();
  require(s.order->S == 0 || s.table != nullptr, op, "on a GPU the order's table must be given where the kernel runs");
  require_device_memory(op, launch, {{"table", s.table}, {"h0", start.h0}, {"c0", start.c0}});
  return s;
}

}  // namespace

RecurrentOrder recurrent_order(std::span<const std::int64_t> offsets) {
  constexpr const char* kOp = "recurrent_order";
  require(!offsets.empty() && offsets[0] == 0 && std::ranges::is_sorted(offsets), kOp,
          "offsets must begin with 0 and not fall");
  RecurrentOrder order;
  order.S = static_cast<std::int64_t>(offsets.size()) - 1;
  order.N = offsets.back();
  const auto length = [&](std::int64_t s) {
    return offsets[static_cast<std::size_t>(s) + 1] - offsets[static_cast<std::size_t>(s)];
  };
  std::vector<std::int64_t> sequences(static_cast<std::size_t>(order.S));
  std::iota(sequences.begin(), sequences.end(), 0);
  std::ranges::stable_sort(sequences, [&](std::int64_t a, std::int64_t b) { return length(a) > length(b); });
  for (const std::int64_t s : sequences) order.table.push_back(offsets[static_cast<std::size_t>(s)]);
  order.table.insert(order.table.end(), sequences.begin(), sequences.end());
  for (std::int64_t left = order.S, t = 0;; ++t) {
    while (left > 0 && length(sequences[static_cast<std::size_t>(left) - 1]) <= t) --left;
    if (left == 0) return order;
    order.active.push_back(left);
  }
}

void recurrent_forward(void* h, float* cell, void* gates, const void* w_hh, const void* b_hh, const RecurrentStart& start,
                       const RecurrentShape& shape, const Launch& launch) {
  constexpr const char* kOp = "recurrent_forward";
  const RecurrentShape s = checked(kOp, shape, start, launch);
  if (s.order->N == 0) return;
  require(h != nullptr && gates != nullptr && w_hh != nullptr && b_hh != nullptr, kOp, "h, gates, w_hh and b_hh must be given");
  require((cell != nullptr) == (s.kind == RecurrentKind::kLstm), kOp, "an LSTM has a cell, a GRU none");
  require_device_memory(kOp, launch, {{"h", h}, {"cell", cell}, {"gates", gates}, {"w_hh", w_hh}, {"b_hh", b_hh}});
  if constexpr (kHasCuda)
    if (launch.device.type == DeviceType::kCuda)
      return detail::recurrent_forward_cuda(h, cell, gates, w_hh, b_hh, start, s, launch);
  cpu::recurrent_forward(static_cast<float*>(h), cell, static_cast<float*>(gates), static_cast<const float*>(w_hh),
                         static_cast<const float*>(b_hh), {static_cast<const float*>(start.h0), start.c0}, s, launch);
}

void recurrent_backward(const RecurrentGradients& to, void* gates, const RecurrentOutputs& of, const void* w_hh,
                        const RecurrentStart& start, const RecurrentShape& shape, Write write, const Launch& launch) {
  constexpr const char* kOp = "recurrent_backward";
  const RecurrentShape s = checked(kOp, shape, start, launch);
  const bool lstm = s.kind == RecurrentKind::kLstm;
  require(to.dw != nullptr && to.db != nullptr, kOp, "dw and db must be given");
  require(lstm || (to.dc0 == nullptr && of.dlast_cell == nullptr), kOp, "a GRU has no cell");
  const std::int64_t N = s.order->N, H = s.H;
  require(N == 0 || (gates != nullptr && of.h != nullptr && of.dh != nullptr && w_hh != nullptr), kOp,
          "gates, h, dh and w_hh must be given");
  require(N == 0 || (of.cell != nullptr) == lstm, kOp, "an LSTM has a cell, a GRU none");
  require_device_memory(kOp, launch,
                        {{"gates", gates}, {"h", of.h}, {"dh", of.dh}, {"cell", of.cell}, {"dlast_cell", of.dlast_cell}});
  require_device_memory(kOp, launch, {{"w_hh", w_hh}, {"dw", to.dw}, {"db", to.db}, {"dh0", to.dh0}, {"dc0", to.dc0}});
  const std::size_t bytes = size_of(s.dtype);
  const ScratchArray<std::byte> previous(launch, static_cast<std::size_t>(N * H) * bytes);  // [N, H]: h_{t-1}
  const auto go_back = [&] {
    if constexpr (kHasCuda)
      if (launch.device.type == DeviceType::kCuda)
        return detail::recurrent_backward_cuda(previous.get(), to, gates, of, w_hh, start, s, launch);
    cpu::recurrent_backward(reinterpret_cast<float*>(previous.get()), to, static_cast<float*>(gates), of,
                            static_cast<const float*>(w_hh), start, s, launch);
  };
  go_back();
  // W_hh's gradient, of all steps at once. A GRU's da_r and da_z are also dg_r and dg_z.
  const std::int64_t together = lstm ? 4 * H : 2 * H;
  linear_backward_weight(to.dw, to.db, gates, previous.get(), {.M = N, .N = together, .K = H, .ldy = 4 * H}, write,
                         {.dtype = s.dtype}, launch);
  if (lstm) return;
  std::byte* hidden = N == 0 ? nullptr : static_cast<std::byte*>(gates) + static_cast<std::size_t>(3 * H) * bytes;
  linear_backward_weight(to.dw + 2 * H * H, to.db + 2 * H, hidden, previous.get(), {.M = N, .N = H, .K = H, .ldy = 4 * H},
                         write, {.dtype = s.dtype}, launch);
}

}  // namespace tradewind::kernels
