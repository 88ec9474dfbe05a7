#include "models/recommend/ranking_validation.h"

#include <algorithm>
#include <chrono>
#include <numeric>

#include "kernels/embedding.h"
#include "kernels/linear_cross_entropy.h"
#include "models/recommend/recommender.h"
#include "runtime/core/transfer.h"

namespace tradewind::models {

using namespace runtime;  // NOLINT: as models are written

namespace {

/// Some users' queries and what is asked of them, where the context computes.
struct Asked {
  Asked(Context& context, Recommender& model, const HeldOut::Queries& of)
      : queries(model.queries(context, on_device(context, of.batch))),
        items(model.item_vectors(context)),
        bias(model.item_bias()),
        target_offsets(on_device_of<std::int64_t>(context, of.targets.offsets)),
        targets(on_device_of<std::int32_t>(context, of.targets.items)) {}
  Tensor queries, items, bias, target_offsets, targets;
};

std::vector<TargetRank> ranks_of(Context& context, const Asked& asked, const HeldOut::Queries& of, bool leave_out_seen) {
  auto catalogue = catalogue_of(asked.queries, asked.items, asked.bias);
  const Tensor seen_offsets = on_device_of<std::int64_t>(context, of.seen.offsets),
               seen = on_device_of<std::int32_t>(context, of.seen.items);
  if (leave_out_seen) {
    catalogue.exclude_offsets = seen_offsets.data<std::int64_t>();
    catalogue.exclude = seen.data<std::int32_t>();
  }
  const auto total = static_cast<std::int64_t>(of.targets.items.size());
  const Tensor greater = context.tensor({total}, DType::kInt32), equal = context.tensor({total}, DType::kInt32);
  kernels::catalogue_rank(greater.data<std::int32_t>(), equal.data<std::int32_t>(), catalogue,
                          asked.target_offsets.data<std::int64_t>(), asked.targets.data<std::int32_t>(), total,
                          context.launch());
  const Tensor host_greater = on_host(greater), host_equal = on_host(equal);
  std::vector<TargetRank> out;
  for (std::int64_t t = 0; t < total; ++t) {
    const TargetRank rank{host_greater.data<std::int32_t>()[t], host_equal.data<std::int32_t>()[t]};
    if (rank.greater >= catalogue.V) throw DataError("ranking: a score is not a number; the model's parameters are damaged");
    out.push_back(rank);
  }
  return out;
}

/// The sum over the targets.
double nll_of(Context& context, const Asked& asked, const HeldOut::Queries& of) {
  const auto total = static_cast<std::int64_t>(of.targets.items.size()), V = asked.items.size(0), C = asked.items.size(1);
  std::vector<std::int32_t> query_of;
  for (std::size_t i = 0; i + 1 < of.targets.offsets.size(); ++i)
    query_of.insert(query_of.end(), static_cast<std::size_t>(of.targets.offsets[i + 1] - of.targets.offsets[i]),
                    static_cast<std::int32_t>(i));
  const Tensor rows = on_device_of<std::int32_t>(context, query_of);
  const DType dtype = asked.queries.dtype();
  const Tensor x = context.tensor({total, C}, dtype), loss = context.tensor({total}), nll = context.tensor({total});
  kernels::embedding_forward(x.raw(), asked.queries.raw(), rows.data<std::int32_t>(), total, asked.queries.size(0), C,
                             kernels::Write::kAssign, dtype, context.launch());
  kernels::LinearCrossEntropyOptions options;
  options.dtype = dtype;
  kernels::linear_cross_entropy(loss.data<float>(), nll.data<float>(), nullptr, nullptr, nullptr, nullptr, x.raw(),
                                asked.items.raw(), asked.bias.defined() ? asked.bias.raw() : nullptr,
                                asked.targets.data<std::int32_t>(), total, V, C, kernels::Write::kAssign, options,
                                context.launch());
  const Tensor host = on_host(nll);
  const auto values = host.span<float>();
  return std::accumulate(values.begin(), values.end(), 0.0);
}

}  // namespace

RankingValidation::RankingValidation(std::shared_ptr<const HeldOut> users, RankingOptions options)
    : users_(std::move(users)), options_(std::move(options)) {
  const RankingMetrics metrics(options_.cutoffs);
  if (std::ranges::find(metrics.names(), options_.best_by) == metrics.names().end())
    throw ConfigError("evaluate.best_by = \"" + options_.best_by + "\" is not measured; there are " +
                      std::accumulate(metrics.names().begin(), metrics.names().end(), std::string(),
                                      [](const std::string& a, const std::string& b) { return a.empty() ? b : a + ", " + b; }));
}

Evaluation RankingValidation::run(Context& context, Task& task, const EvaluationPlan& plan) const {
  auto* const model = dynamic_cast<Recommender*>(&task);
  if (model == nullptr) throw ConfigError("ranking: the model is no recommender");
  const auto start = std::chrono::steady_clock::now();
  RankingMetrics metrics(options_.cutoffs);
  double sums[2] = {0, 0};  // nll, targets
  for_each_batch(samples(), plan, [&](std::int64_t begin, std::int64_t end) {
    const auto of = users_->collate(begin, end);
    const Asked asked(context, *model, of);
    const auto ranks = ranks_of(context, asked, of, options_.leave_out_seen);
    for (std::int64_t i = begin; i < end; ++i) {
      const auto at = static_cast<std::size_t>(i - begin);
      const auto first = static_cast<std::size_t>(of.targets.offsets[at]),
                 last = static_cast<std::size_t>(of.targets.offsets[at + 1]);
      const auto values = metrics.add(std::span(ranks).subspan(first, last - first));
      if (options_.each_user) options_.each_user(users_->user(i), values);
    }
    sums[0] += nll_of(context, asked, of);
    sums[1] += static_cast<double>(of.targets.items.size());
  });
  if (plan.communicator != nullptr) {
    metrics.merge(*plan.communicator);
    plan.communicator->all_reduce(sums, 2, kernels::DType::kFloat64, ReduceOp::kSum, nullptr);
  }
  Evaluation out;
  out.metrics = metrics.means();
  out.headline = metrics.headline();
  out.best_by = options_.best_by;
  out.targets = static_cast<std::int64_t>(sums[1]);
  out.loss = sums[0] / sums[1];
  out.seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
  return out;
}

}  // namespace tradewind::models
