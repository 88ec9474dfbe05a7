// The language-model head and its loss in one op that never holds the logits.
//
//   z[n, v] = x[n] . w[v] (+ bias[v])
//   nll[n]  = (1 - s) (lse[n] - z[n, t]) + s (lse[n] - mean_v z[n, v])     s = label smoothing, t = target[n]
//   loss[n] = nll[n] + z_loss lse[n]^2                                     z-loss: Chowdhery et al. 2022 (PaLM), section 5
// Rows whose target is ignore_index have loss 0 and no gradient. Any other target outside [0, V) throws DataError.
//
// Shapes: x [N, C], w [V, C], bias [V] or null, targets [N] int32, loss, nll, lse [N] float32 (nll and lse: null where not
// wanted). The gradients of L = launch.step->loss_scale[task] * sum_n loss[n] are computed in the same pass over row chunks:
// dx [N, C] is assigned; dw [V, C] and dbias [V], float32, are written with `write`. Each is null where it is not wanted, and
// all three where only the loss is (evaluation; launch.step may be null then).
// Workspace: a chunk of logits (at most 64 MiB, or 32 rows) and, where V C is small, one dw a thread, merged in fixed order.
// Deterministic: same bits for the same shape, threads and instruction set; a row's loss does not depend on other rows' values.
// 6 N C V FLOPs with gradients, 2 N C V without; the softmax is about 10 % of the time at C = 64.
#pragma once

#include <cstdint>

#include "kernels/base/launch.h"

namespace tradewind::kernels {

struct LinearCrossEntropyOptions {
  float label_smoothing = 0.0F;
  float z_loss = 0.0F;
  std::int32_t ignore_index = -100;
  int task = 0;  // which loss_scale
  DType dtype = DType::kFloat32;
};

void linear_cross_entropy(float* loss, float* nll, float* lse, void* dx, float* dw, float* dbias, const void* x, const void* w,
                          const void* bias, const std::int32_t* targets, std::int64_t N, std::int64_t V, std::int64_t C,
                          Write write, const LinearCrossEntropyOptions& options, const Launch& launch);

/// The most bytes of workspace that it takes with gradients, of float32.
std::int64_t linear_cross_entropy_workspace(std::int64_t N, std::int64_t V, std::int64_t C, DeviceType device, int threads);

}  // namespace tradewind::kernels
