// CPU arms of kernels/optimizer.h. Arguments are checked.
#pragma once

#include "kernels/optimizer.h"

namespace tradewind::kernels::cpu {

struct AdamScalars {
  float beta1, one_minus_beta1, beta2, one_minus_beta2, epsilon, gradient_scale, rate, correction1, root_correction2;
  bool decoupled;
};

struct SgdScalars {
  float momentum, one_minus_dampening, gradient_scale, rate;
  bool nesterov, first;
};

struct AdagradScalars {
  float epsilon, gradient_scale, rate;
};

/// Those of the step, with its bias corrections, which are computed in float64.
AdamScalars adam_scalars(const AdamOptions& options, const StepState& step);

void adam_update(float* parameter, float* m, float* v, const float* gradient, const Segment* segments,
                 std::int64_t segment_count, const AdamOptions& options, const Launch& launch);
void sgd_update(float* parameter, float* momentum, const float* gradient, const Segment* segments, std::int64_t segment_count,
                const SgdOptions& options, const Launch& launch);
void adagrad_update(float* parameter, float* sum, const float* gradient, const Segment* segments, std::int64_t segment_count,
                    const AdagradOptions& options, const Launch& launch);
void squared_norm(double* sum, const float* x, std::int64_t count, const Launch& launch);

}  // namespace tradewind::kernels::cpu
