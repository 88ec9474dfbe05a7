// Activations by the names that configs have for them.
#pragma once

#include <string>

#include "kernels/activation.h"

namespace tradewind::models {

inline kernels::Activation activation_of(const std::string& name) {
  if (name == "gelu_tanh") return kernels::Activation::kGeluTanh;
  if (name == "gelu_exact") return kernels::Activation::kGeluExact;
  if (name == "relu") return kernels::Activation::kRelu;
  return kernels::Activation::kSilu;  // "silu", and inside "swiglu"
}

}  // namespace tradewind::models
