// Layers: parameters with their names and how to apply them. A model registers them in its constructor and calls them in
// forward.
#pragma once

#include <string>

#include "runtime/ops/embedding.h"
#include "runtime/ops/linear.h"
#include "runtime/ops/mlp.h"
#include "runtime/ops/norm.h"

namespace tradewind::runtime {

struct LinearLayer {
  Parameter* weight = nullptr;  // [out, in]
  Parameter* bias = nullptr;    // [out] or null
  /// Registers name.weight and name.bias, 0.
  static LinearLayer make(ParameterStore& store, const std::string& name, std::int64_t in, std::int64_t out, bool bias,
                          Init weight);
  Variable operator()(Tape& tape, const Variable& x) const { return linear(tape, x, *weight, bias); }
};

struct NormLayer {
  NormParameters parameters{};
  /// Registers name.weight, 1, and (layer norm with bias) name.bias, 0.
  static NormLayer make(ParameterStore& store, const std::string& name, std::int64_t channels,
                        const kernels::NormOptions& options, bool bias);
  Variable operator()(Tape& tape, const Variable& x) const { return norm(tape, x, parameters); }
};

struct MlpLayer {
  LinearLayer up, down;
  kernels::Activation activation = kernels::Activation::kGeluTanh;
  bool gated = false;
  /// Registers name.up (twice as wide where gated) and name.down; N(0, deviation) and N(0, out_deviation).
  static MlpLayer make(ParameterStore& store, const std::string& name, std::int64_t channels, std::int64_t hidden, bool bias,
                       kernels::Activation activation, bool gated, float deviation, float out_deviation);
  Variable operator()(Tape& tape, const Variable& x, const kernels::Dropout& inner = {}, const Sequences& rows = {}) const {
    return mlp(tape, x, {up.weight, up.bias, down.weight, down.bias}, activation, gated, inner, rows);
  }
};

}  // namespace tradewind::runtime
