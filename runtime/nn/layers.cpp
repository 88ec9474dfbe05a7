#include "runtime/nn/layers.h"

namespace tradewind::runtime {

LinearLayer LinearLayer::make(ParameterStore& store, const std::string& name, std::int64_t in, std::int64_t out, bool bias,
                              Init weight) {
  LinearLayer layer;
  layer.weight = &store.add(name + ".weight", {out, in}, weight, true);
  if (bias) layer.bias = &store.add(name + ".bias", {out}, Init::constant(0), false);
  return layer;
}

NormLayer NormLayer::make(ParameterStore& store, const std::string& name, std::int64_t channels,
                          const kernels::NormOptions& options, bool bias) {
  NormLayer layer;
  layer.parameters.options = options;
  layer.parameters.weight = &store.add(name + ".weight", {channels}, Init::constant(1), false);
  if (bias && options.kind == kernels::NormKind::kLayerNorm)
    layer.parameters.bias = &store.add(name + ".bias", {channels}, Init::constant(0), false);
  return layer;
}

MlpLayer MlpLayer::make(ParameterStore& store, const std::string& name, std::int64_t channels, std::int64_t hidden, bool bias,
                        kernels::Activation activation, bool gated, float deviation, float out_deviation) {
  MlpLayer layer;
  layer.activation = activation;
  layer.gated = gated;
  layer.up = LinearLayer::make(store, name + ".up", channels, gated ? 2 * hidden : hidden, bias, Init::normal(deviation));
  layer.down = LinearLayer::make(store, name + ".down", hidden, channels, bias, Init::normal(out_deviation));
  return layer;
}

}  // namespace tradewind::runtime
