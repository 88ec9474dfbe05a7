// y = x w^T + bias.
#pragma once

#include "runtime/autograd/tape.h"

namespace tradewind::runtime {

/// x [N, K], weight [M, K], bias [M] or null; y [N, M].
Variable linear(Tape& tape, const Variable& x, Parameter& weight, Parameter* bias);

/// y[n] = [W_1 a[n], W_2 b[n]] + bias: the first `split` rows of weight [M, K] are W_1, the others W_2. a, b [N, K], y [N, M].
Variable linear_of_two(Tape& tape, const Variable& a, const Variable& b, std::int64_t split, Parameter& weight,
                       Parameter* bias);

/// One Write for a weight and its bias: where only one of them was touched before, the other is zeroed and both accumulate.
kernels::Write touch_together(Parameter& weight, Parameter* bias);

}  // namespace tradewind::runtime
