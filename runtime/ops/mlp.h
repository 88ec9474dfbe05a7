// The feed-forward block of a transformer: y = down(act(up(x))), as one op.
//
// Only x and the value before the activation are kept. Rows go through in chunks that stay in the last-level cache, so the wide
// hidden layer is written to memory once; backward computes the activation again in the pass that needs its derivative, which
// costs about a hundredth of the products and saves N * F floats.
#pragma once

#include "kernels/activation.h"
#include "runtime/autograd/tape.h"
#include "runtime/ops/sequences.h"

namespace tradewind::runtime {

struct MlpParameters {
  Parameter* up_weight;    // [F, C]; for a gated block [2 F, C], gate above up
  Parameter* up_bias;      // or null
  Parameter* down_weight;  // [C, F]
  Parameter* down_bias;    // or null
};

/// x [N, C], y [N, C]. gated: SwiGLU, and `activation` is not looked at. inner: dropout of the hidden values, keyed by `rows`.
Variable mlp(Tape& tape, const Variable& x, const MlpParameters& parameters, kernels::Activation activation, bool gated,
             const kernels::Dropout& inner = {}, const Sequences& rows = {});

}  // namespace tradewind::runtime
