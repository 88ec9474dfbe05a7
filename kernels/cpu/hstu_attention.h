// CPU arms of kernels/hstu_attention.h. Arguments are checked.
#pragma once

#include "kernels/hstu_attention.h"

namespace tradewind::kernels::cpu {

struct HstuForwardArrays {
  float* out;
  const float *q, *k, *v;
};

struct HstuBackwardArrays {
  float *dq, *dk, *dv;
  const float *dout, *q, *k, *v;
};

void hstu_attention_forward(const HstuForwardArrays& arrays, const HstuAttentionShape& shape,
                            const HstuAttentionOptions& options, const Launch& launch);
/// Takes B * H * (positions + time_buckets) floats of scratch where gradients of tables are wanted.
void hstu_attention_backward(const HstuBackwardArrays& arrays, const HstuBiasGradients& dbias, const HstuAttentionShape& shape,
                             const HstuAttentionOptions& options, const Launch& launch);

}  // namespace tradewind::kernels::cpu
