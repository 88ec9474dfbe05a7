// Define-by-run automatic differentiation.
//
// An op computes, then records a node: a function that reads the gradient of the op's output and writes those of its inputs,
// holding only what it needs for that. backward() runs the nodes in reverse order of creation and drops each one after it
// ran, so memory goes back as it proceeds. A loss op is a root: its node needs no incoming gradient.
//
//   Variable y = tape.variable(tensor, {&x});
//   tape.record({&w}, [=, &tape]() mutable { if (auto dy = y.take_gradient(); dy.defined()) ... });
#pragma once

#include <functional>
#include <initializer_list>
#include <memory>
#include <utility>
#include <vector>

#include "runtime/core/context.h"
#include "runtime/core/tensor.h"
#include "runtime/parallel/parameter_store.h"

namespace tradewind::runtime {

/// A tensor on a tape. Copies share value and gradient.
class Variable {
 public:
  Variable() = default;
  bool defined() const { return state_ != nullptr; }
  const Tensor& value() const { return state_->value; }
  std::int64_t size(int dimension) const { return state_->value.size(dimension); }
  bool needs_gradient() const { return state_->needs_gradient; }
  /// The gradient so far; undefined where nothing has reached this variable.
  const Tensor& gradient() const { return state_->gradient; }
  /// Moves the gradient out. For the node that consumes it.
  Tensor take_gradient() const { return std::exchange(state_->gradient, Tensor()); }

 private:
  friend class Tape;
  struct State {
    Tensor value, gradient;
    bool needs_gradient = false;
  };
  std::shared_ptr<State> state_;
};

class Tape {
 public:
  /// record false: evaluation, nothing is kept.
  Tape(Context& context, bool record) : context_(context), recording_(record) {}

  Context& context() const { return context_; }
  bool recording() const { return recording_; }

  /// A leaf without gradient.
  Variable constant(Tensor value) const;
  /// The output of an op over parameters (always differentiable) or of one over `inputs` (if one of them is).
  Variable variable(Tensor value) const;
  Variable variable(Tensor value, std::initializer_list<const Variable*> inputs) const;

  /// Remembers how to go back through an op. `parameters` (null entries are skipped) are those whose gradients it writes.
  void record(std::initializer_list<Parameter*> parameters, std::function<void()> backward);

  /// Where an op writes the gradient of `variable`, and how: allocated and assigned at the first contribution.
  std::pair<Tensor, kernels::Write> gradient_of(const Variable& variable) const;
  /// Adds `contribution`, which the caller gives up: adopted where it is the first.
  void contribute(const Variable& variable, const Tensor& contribution) const;

  /// Called with each parameter the moment its gradient is final: the hook of data parallelism.
  void on_ready(std::function<void(Parameter&)> ready) { ready_ = std::move(ready); }

  /// Throws InternalError where the tape does not record.
  void backward();

 private:
  void own_gradient(Variable::State& state) const;

  struct Node {
    std::vector<Parameter*> parameters;
    std::function<void()> backward;
  };
  Context& context_;
  bool recording_;
  std::vector<Node> nodes_;
  std::function<void(Parameter&)> ready_;
};

}  // namespace tradewind::runtime
