#include "runtime/optim/optimizer.h"

#include <algorithm>
#include <cstring>
#include <utility>

#include "runtime/core/transfer.h"

namespace tradewind::runtime {

void OptimizerConfig::describe(Fields& f) {
  f.field("name", name, "How parameters are updated.", {"adamw", "adam", "sgd"});
  f.field("learning_rate", learning_rate, "Peak rate; [schedule] shapes it over the run.", {.min = 0});
  f.field("beta1", beta1, "Adam: decay of the gradient's mean.", {.min = 0, .max = 1, .below_max = true});
  f.field("beta2", beta2, "Adam: decay of the squared gradient's mean.", {.min = 0, .max = 1, .below_max = true});
  f.field("epsilon", epsilon, "Adam: added to the root of the second moment.", {.min = 0});
  f.field(
      "weight_decay", weight_decay,
      "Decay of matrices and embeddings (not of biases and norms): decoupled in adamw, added to the gradient in adam and sgd.",
      {.min = 0});
  f.field("momentum", momentum, "SGD: momentum.", {.min = 0, .max = 1, .below_max = true});
  f.field("dampening", dampening, "SGD: dampening of the momentum.", {.min = 0, .max = 1});
  f.field("nesterov", nesterov, "SGD: Nesterov's momentum.");
}

Optimizer::Optimizer(const OptimizerConfig& config, const ParameterStore& store, Context& context, std::optional<Shard> shard)
    : config_(config), store_(store), shard_(shard ? *shard : Shard::whole(store)) {
  const auto add = [&](const char* name) {
    Tensor state = context.tensor({shard_.elements()}, DType::kFloat32, Purpose::kOptimizer);
    state.zero();
    states_.emplace(name, std::move(state));
  };
  if (config.name != "sgd") {
    add("m");
    add("v");
  } else if (config.momentum > 0) {
    add("momentum");
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
  kernels::adam_update(parameter, state("m"), state("v"), gradient, segments, count,
                       {.beta1 = static_cast<float>(config_.beta1),
                        .beta2 = static_cast<float>(config_.beta2),
                        .epsilon = static_cast<float>(config_.epsilon),
                        .decoupled = config_.name == "adamw",
                        .copy = copy,
                        .elements = work.elements},
                       context.launch());
}

}  // namespace tradewind::runtime
