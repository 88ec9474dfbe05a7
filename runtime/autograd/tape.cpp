#include "runtime/autograd/tape.h"

#include <algorithm>

#include "kernels/norm.h"
#include "runtime/core/transfer.h"

namespace tradewind::runtime {

Variable Tape::constant(Tensor value) const {
  Variable v;
  v.state_ = std::make_shared<Variable::State>();
  v.state_->value = std::move(value);
  return v;
}

Variable Tape::variable(Tensor value) const {
  Variable v = constant(std::move(value));
  v.state_->needs_gradient = recording_;
  return v;
}

Variable Tape::variable(Tensor value, std::initializer_list<const Variable*> inputs) const {
  Variable v = constant(std::move(value));
  v.state_->needs_gradient =
      recording_ && std::ranges::any_of(inputs, [](const Variable* in) { return in->defined() && in->needs_gradient(); });
  return v;
}

void Tape::record(std::initializer_list<Parameter*> parameters, std::function<void()> backward) {
  if (!recording_) return;
  Node node{.parameters = {}, .backward = std::move(backward)};
  for (Parameter* p : parameters) {
    if (p == nullptr) continue;
    p->add_use();
    node.parameters.push_back(p);
  }
  nodes_.push_back(std::move(node));
}

/// Two variables can share a gradient (the branches of a residual sum). Before one of them adds to it, it takes a copy.
void Tape::own_gradient(Variable::State& state) const {
  if (state.gradient.unique()) return;
  state.gradient = copy_of(context_, state.gradient);
}

std::pair<Tensor, kernels::Write> Tape::gradient_of(const Variable& variable) const {
  auto& state = *variable.state_;
  if (state.gradient.defined()) {
    own_gradient(state);
    return {state.gradient, kernels::Write::kAccumulate};
  }
  state.gradient = context_.tensor(state.value.shape(), state.value.dtype());
  return {state.gradient, kernels::Write::kAssign};
}

void Tape::contribute(const Variable& variable, const Tensor& contribution) const {
  auto& state = *variable.state_;
  if (!state.needs_gradient) return;
  if (!state.gradient.defined()) {
    state.gradient = contribution.reshape(state.value.shape());
    return;
  }
  own_gradient(state);
  void* sum = state.gradient.raw();
  kernels::residual_norm_forward(sum, nullptr, nullptr, nullptr, sum, contribution.raw(), nullptr, nullptr, 1,
                                 contribution.elements(), {}, {}, {.dtype = contribution.dtype()}, context_.launch());
}

void Tape::backward() {
  require(recording_, "Tape::backward", "the tape does not record");
  while (!nodes_.empty()) {
    Node node = std::move(nodes_.back());
    nodes_.pop_back();
    node.backward();
    for (Parameter* p : node.parameters)
      if (p->drop_use() && ready_) ready_(*p);
  }
}

}  // namespace tradewind::runtime
