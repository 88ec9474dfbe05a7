#include "runtime/optim/optimizer.h"

#include <fmt/format.h>

#include <algorithm>
#include <cstring>
#include <utility>

#include "runtime/core/transfer.h"

namespace tradewind::runtime {

void OptimizerConfig::describe(Fields& f) {
  f.field("name", name, "How parameters are updated.", {"adamw", "adam", "adagrad", "sgd"});
  f.field("learning_rate", learning_rate, "Peak rate; [schedule] shapes it over the run.", {.min = 0});
  f.field("beta1", beta1, "Adam: decay of the gradient's mean.", {.min = 0, .max = 1, .below_max = true});
  f.field("beta2", beta2, "Adam: decay of the squared gradient's mean.", {.min = 0, .max = 1, .below_max = true});
  f.field("epsilon", epsilon, "Adam, Adagrad: added to the root of the squared gradients' mean or sum.", {.min = 0});
  f.field(
      "weight_decay", weight_decay,
      "Decay of matrices and embeddings (not of biases and norms): decoupled in adamw, added to the gradient in the others. 0 "
      "where tables have sparse gradients.",
      {.min = 0});
  f.field("momentum", momentum, "SGD: momentum. 0 where tables have sparse gradients.",
          {.min = 0, .max = 1, .below_max = true});
  f.field("dampening", dampening, "SGD: dampening of the momentum.", {.min = 0, .max = 1});
  f.field("nesterov", nesterov, "SGD: Nesterov's momentum.");
  f.field("initial_accumulator", initial_accumulator, "Adagrad: where the sums of squared gradients begin.", {.min = 0});
  f.field("rowwise", rowwise, "Adagrad: one sum for each row of a table with sparse gradients, of the row's mean square.");
}

void OptimizerConfig::check(const ParameterStore& store) const {
  if (rowwise && name != "adagrad")
    throw ConfigError("optimizer.rowwise = true is for optimizer.name = \"adagrad\", not \"" + name + "\"; set it to false");
  const auto table = std::ranges::find_if(store.parameters(), [](const auto& p) { return p->sparse(); });
  if (table == store.parameters().end()) {
    if (rowwise)
      throw ConfigError(
          "optimizer.rowwise = true is for tables with sparse gradients, of which the model has none; ask it for "
          "them (model.sparse_embeddings = true), or set optimizer.rowwise = false");
    return;
  }
  const std::string remedy = ", and the gradient of \"" + (*table)->name() +
                             "\" is sparse: there is no sparse form of it. Set it to 0, or ask the model for dense gradients "
                             "(model.sparse_embeddings = false)";
  if (weight_decay > 0)
    throw ConfigError("optimizer.weight_decay = " + fmt::format("{}", weight_decay) +
                      " changes every row of a table in every step" + remedy);
  if (name == "sgd" && momentum > 0)
    throw ConfigError("optimizer.momentum = " + fmt::format("{}", momentum) + " moves every row of a table in every step" +
                      remedy);
}

std::int64_t OptimizerConfig::state_elements(const Parameter& parameter) const {
  const std::int64_t elements = parameter.shape().elements();
  if (name == "sgd") return momentum > 0 ? elements : 0;
  if (name == "adagrad") return rowwise && parameter.sparse() ? parameter.shape()[0] : elements;
  return 2 * elements;
}

Optimizer::Optimizer(const OptimizerConfig& config, const ParameterStore& store, Context& context, std::optional<Shard> shard)
    : config_(config), store_(store), shard_(shard ? *shard : Shard::whole(store)) {
  config_.check(store);
  const auto make = [&](std::map<std::string, Tensor>& states, const Shape& shape) {
    const auto add = [&](const char* name, float value) {
      Tensor state = context.tensor(shape, DType::kFloat32, Purpose::kOptimizer);
      if (value == 0)
        state.zero();
      else
        state.fill(value);
      states.emplace(name, std::move(state));
    };
    if (config.name == "adagrad") {
      add("sum", static_cast<float>(config.initial_accumulator));
    } else if (config.name != "sgd") {
      add("m", 0);
      add("v", 0);
    } else if (config.momentum > 0) {
      add("momentum", 0);
    }
  };
  make(states_, {shard_.elements()});
  for (const auto& p : store.parameters()) {
    if (!p->sparse()) continue;
    tables_.push_back({p.get(), {}});
    make(tables_.back().states, config.rowwise ? Shape{p->shape()[0]} : p->shape());
  }
  gradients_ = shard ? context.tensor({shard_.elements()}, DType::kFloat32, Purpose::kGradients) : store.gradients();
  work_.resize(shard_.parts().size());
}

void Optimizer::update(Context& context) {
  const auto all = store_.segments(static_cast<float>(config_.weight_decay));
  for (std::size_t i = 0; i < work_.size(); ++i) {
    const Shard::Part& part = shard_.parts()[i];
    std::vector<kernels::Segment> segments;  // of the part, from its beginning
    for (kernels::Segment s : all) {
      s.begin = std::max(s.begin, part.range.begin) - part.range.begin;
      s.end = std::min(s.end, part.range.end) - part.range.begin;
      if (s.begin < s.end) segments.push_back(s);
    }
    if (segments.empty()) continue;
    work_[i].take(std::move(segments), context);
    update(part, work_[i], context);
  }
  for (const Table& table : tables_)
    if (table.parameter->touched()) update(table, context);
}

/// The same from step to step, unless parameters go unused: they are carried to the device when they change.
void Optimizer::Work::take(std::vector<kernels::Segment> wanted, Context& context) {
  const auto same = [](const kernels::Segment& a, const kernels::Segment& b) {
    return a.begin == b.begin && a.end == b.end && a.weight_decay == b.weight_decay && a.rate == b.rate;
  };
  if (std::ranges::equal(wanted, segments, same)) return;
  segments = std::move(wanted);
  elements = 0;
  for (const kernels::Segment& s : segments) elements += s.end - s.begin;
  if (context.device().type == DeviceType::kCpu) return;
  const Tensor host(host_allocator(), {static_cast<std::int64_t>(segments.size() * sizeof(kernels::Segment))}, DType::kUInt8);
  std::memcpy(host.raw(), segments.data(), host.bytes());
  device = on_device(context, host, Purpose::kOptimizer);
}

void Optimizer::update(const Shard::Part& part, const Work& work, Context& context) {
  auto* parameter = store_.values().data<float>() + part.range.begin;
  void* copy = store_.compute_copies().defined() ? store_.compute_copies().at(part.range.begin) : nullptr;
  const auto* gradient = gradients_.data<float>() + part.at;
  const auto state = [&](const char* name) { return states_.at(name).data<float>() + part.at; };
  const auto count = static_cast<std::int64_t>(work.segments.size());
  const auto* segments = work.device.defined() ? static_cast<const kernels::Segment*>(work.device.raw()) : work.segments.data();
  if (config_.name == "sgd") {
    kernels::sgd_update(parameter, config_.momentum > 0 ? state("momentum") : nullptr, gradient, segments, count,
                        {.momentum = static_cast<float>(config_.momentum),
                         .dampening = static_cast<float>(config_.dampening),
                         .nesterov = config_.nesterov,
                         .copy = copy,
                         .elements = work.elements},
                        context.launch());
    return;
  }
  if (config_.name == "adagrad") {
    kernels::adagrad_update(parameter, state("sum"), gradient, segments, count,
                            {.epsilon = static_cast<float>(config_.epsilon), .copy = copy, .elements = work.elements},
                            context.launch());
    return;
  }
  kernels::adam_update(parameter, state("m"), state("v"), gradient, segments, count,
                       {.beta1 = static_cast<float>(config_.beta1),
                        .beta2 = static_cast<float>(config_.beta2),
                        .epsilon = static_cast<float>(config_.epsilon),
                        .decoupled = config_.name == "adamw",
                        .copy = copy,
                        .elements = work.elements},
                       context.launch());
}

void Optimizer::update(const Table& table, Context& context) const {
  const Parameter& p = *table.parameter;
  const SparseGradient& gradient = p.sparse_gradient();
  if (gradient.count() == 0) return;
  const auto state = [&](const char* name) {
    const auto found = table.states.find(name);
    return found == table.states.end() ? nullptr : found->second.data<float>();
  };
  using kernels::SparseRule;
  const bool adagrad = config_.name == "adagrad";
  kernels::sparse_update(
      p.value().data<float>(), state(adagrad ? "sum" : "m"), state("v"),
      {.rows = gradient.rows().data<std::int32_t>(), .values = gradient.values().data<float>(), .count = gradient.count()},
      p.shape()[0], p.shape()[1],
      {.rule = config_.name == "sgd" ? SparseRule::kSgd
               : !adagrad            ? SparseRule::kAdam
               : config_.rowwise     ? SparseRule::kRowwiseAdagrad
                                     : SparseRule::kAdagrad,
       .beta1 = static_cast<float>(config_.beta1),
       .beta2 = static_cast<float>(config_.beta2),
       .epsilon = static_cast<float>(config_.epsilon),
       .copy = store_.compute_copies().defined() ? p.compute().raw() : nullptr},
      context.launch());
}

}  // namespace tradewind::runtime
