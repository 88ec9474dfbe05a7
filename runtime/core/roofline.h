// What this machine can do at most, as the yardstick of a run.
#pragma once

#include "runtime/core/context.h"

namespace tradewind::runtime {

/// FLOP a second of a float32 matrix product of 1024 x 1024 x 1024 with the context's threads (on a GPU: of 8192 x 8192 x 8192
/// in the context's type): the best of five, measured now (0.1 s on two cores). The peak that a run's MFU (model FLOPs
/// utilisation, Chowdhery et al. 2022, appendix B) refers to.
double measured_product_rate(Context& context);

}  // namespace tradewind::runtime
