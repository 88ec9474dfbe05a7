#include "runtime/nn/recurrent.h"

#include <cmath>

namespace tradewind::runtime {

RecurrentLayer RecurrentLayer::make(ParameterStore& store, const std::string& name, kernels::RecurrentKind kind,
                                    std::int64_t in, std::int64_t hidden) {
  const Init init = Init::uniform(1.0F / std::sqrt(static_cast<float>(hidden)));
  const std::int64_t gates = kernels::recurrent_gates(kind) * hidden;
  RecurrentLayer layer;
  layer.parameters = {.kind = kind,
                      .input_weight = &store.add(name + ".input.weight", {gates, in}, init, true),
                      .input_bias = &store.add(name + ".input.bias", {gates}, init, false),
                      .hidden_weight = &store.add(name + ".hidden.weight", {gates, hidden}, init, true),
                      .hidden_bias = &store.add(name + ".hidden.bias", {gates}, init, false)};
  return layer;
}

double RecurrentLayer::forward_flops() const {
  const Shape &input = parameters.input_weight->shape(), &hidden = parameters.hidden_weight->shape();
  return 2 * static_cast<double>(input.elements() + hidden.elements());
}

std::int64_t RecurrentLayer::kept_floats() const {
  const std::int64_t H = parameters.hidden_weight->shape()[1];
  return (parameters.kind == kernels::RecurrentKind::kLstm ? 6 : 5) * H;
}

}  // namespace tradewind::runtime
