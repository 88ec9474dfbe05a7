// The losses of a batch, where they were computed.
#pragma once

#include "runtime/core/tensor.h"

namespace tradewind::runtime {

struct RowLosses {
  Tensor loss;  // [N] float32: what is trained on; 0 where the target is ignored
  Tensor nll;   // [N] float32: negative log-likelihood without z-loss
};

}  // namespace tradewind::runtime
