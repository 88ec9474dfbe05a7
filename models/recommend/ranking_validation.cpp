#include "models/recommend/ranking_validation.h"

#include <algorithm>
#include <chrono>
#include <cmath>
#include <iterator>
#include <limits>
#include <numeric>

#include "kernels/embedding.h"
#include "kernels/linear_cross_entropy.h"
#include "kernels/softmax.h"
#include "models/recommend/recommender.h"
#include "models/recommend/sampled_ranking.h"
#include "runtime/core/transfer.h"

namespace tradewind::models {

using namespace runtime;  // NOLINT: as models are written

namespace {

/// Some users' scores and what is asked of them, where the context computes.
struct Asked {
  Asked(Context& context, Ranker& model, const HeldOut::Queries& of)
      : scores(model.scores(context, on_device(context, of.batch))),
        target_offsets(on_device_of<std::int64_t>(context, of.targets.offsets)),
        targets(on_device_of<std::int32_t>(context, of.targets.items)) {}
  CatalogueScores scores;
  Tensor target_offsets, targets;
};

/// A target without a row of its own is no candidate, and comes behind all of them.
constexpr std::int64_t kUnreachable = std::numeric_limits<std::int32_t>::max();

/// What the users' items are ranked among.
struct Candidates {
  Candidates(Context& context, const Asked& asked, const HeldOut::Queries& of, const Vocabulary& names, bool leave_out_seen)
      : catalogue(asked.scores.catalogue()),
        seen_offsets_(on_device_of<std::int64_t>(context, of.seen.offsets)),
        seen_(on_device_of<std::int32_t>(context, of.seen.items)) {
    if (const auto candidates = names.candidates(); !candidates.empty()) {
      allow_ = on_device_of<std::uint8_t>(context, candidates);
      catalogue.allow = allow_.data<std::uint8_t>();
    }
    if (!leave_out_seen) return;
    catalogue.exclude_offsets = seen_offsets_.data<std::int64_t>();
    catalogue.exclude = seen_.data<std::int32_t>();
  }
  kernels::Catalogue catalogue;

 private:
  Tensor seen_offsets_, seen_, allow_;
};

[[noreturn]] void throw_not_a_number() {
  throw DataError("ranking: a score is not a number; the model's parameters are damaged");
}

std::vector<TargetRank> ranks_of(Context& context, const kernels::Catalogue& catalogue, const Asked& asked,
                                 const HeldOut::Queries& of) {
  const auto total = static_cast<std::int64_t>(of.targets.items.size());
  const Tensor greater = context.tensor({total}, DType::kInt32), equal = context.tensor({total}, DType::kInt32);
  kernels::catalogue_rank(greater.data<std::int32_t>(), equal.data<std::int32_t>(), catalogue,
                          asked.target_offsets.data<std::int64_t>(), asked.targets.data<std::int32_t>(), total,
                          context.launch());
  const Tensor host_greater = on_host(greater), host_equal = on_host(equal);
  std::vector<TargetRank> out;
  for (std::int64_t t = 0; t < total; ++t) {
    const TargetRank rank{host_greater.data<std::int32_t>()[t], host_equal.data<std::int32_t>()[t]};
    if (rank.greater >= catalogue.V) throw_not_a_number();
    out.push_back(rank);
  }
  return out;
}

/// The query of each target.
std::vector<std::int32_t> query_of_targets(const HeldOut::Queries& of) {
  std::vector<std::int32_t> out;
  for (std::size_t i = 0; i + 1 < of.targets.offsets.size(); ++i)
    out.insert(out.end(), static_cast<std::size_t>(of.targets.offsets[i + 1] - of.targets.offsets[i]),
               static_cast<std::int32_t>(i));
  return out;
}

double nll_of_given(Context& context, const Tensor& scores, const HeldOut::Queries& of) {
  const std::int64_t S = scores.size(0), V = scores.size(1);
  const Tensor log_softmax = context.tensor({S, V});
  kernels::softmax_forward(log_softmax.raw(), scores.raw(), S, V, true, DType::kFloat32, context.launch());
  const Tensor host = on_host(log_softmax);
  const auto query_of = query_of_targets(of);
  double sum = 0;
  for (std::size_t t = 0; t < query_of.size(); ++t) sum -= host.data<float>()[query_of[t] * V + of.targets.items[t]];
  return sum;
}

void add_users(RankingMetrics& metrics, std::span<const TargetRank> ranks, const HeldOut::Lists& targets) {
  for (std::size_t i = 0; i + 1 < targets.offsets.size(); ++i)
    metrics.add(ranks.subspan(static_cast<std::size_t>(targets.offsets[i]),
                              static_cast<std::size_t>(targets.offsets[i + 1] - targets.offsets[i])));
}

/// Each user's best k candidates, fewer where there are no more.
std::vector<std::vector<std::int32_t>> lists_of(Context& context, const kernels::Catalogue& catalogue, std::int64_t k) {
  k = std::min(k, catalogue.V);
  const Tensor ids = context.tensor({catalogue.N, k}, DType::kInt32), scores = context.tensor({catalogue.N, k});
  kernels::catalogue_top_k(ids.data<std::int32_t>(), scores.data<float>(), catalogue, k, context.launch());
  const Tensor host_ids = on_host(ids), host_scores = on_host(scores);
  std::vector<std::vector<std::int32_t>> out(static_cast<std::size_t>(catalogue.N));
  for (std::int64_t i = 0; i < catalogue.N * k; ++i) {
    if (std::isnan(host_scores.data<float>()[i])) throw_not_a_number();
    if (const std::int32_t item = host_ids.data<std::int32_t>()[i]; item >= 0)
      out[static_cast<std::size_t>(i / k)].push_back(item);
  }
  return out;
}

/// The sum over the targets.
double nll_of(Context& context, const Asked& asked, const HeldOut::Queries& of) {
  if (asked.scores.given.defined()) return nll_of_given(context, asked.scores.given, of);
  const auto& [queries, items, bias, given] = asked.scores;
  const auto total = static_cast<std::int64_t>(of.targets.items.size()), V = items.size(0), C = items.size(1);
  const Tensor rows = on_device_of<std::int32_t>(context, query_of_targets(of));
  const DType dtype = queries.dtype();
  const Tensor x = context.tensor({total, C}, dtype), loss = context.tensor({total}), nll = context.tensor({total});
  kernels::embedding_forward(x.raw(), queries.raw(), rows.data<std::int32_t>(), total, queries.size(0), C,
                             kernels::Write::kAssign, dtype, context.launch());
  kernels::LinearCrossEntropyOptions options;
  options.dtype = dtype;
  kernels::linear_cross_entropy(loss.data<float>(), nll.data<float>(), nullptr, nullptr, nullptr, nullptr, x.raw(), items.raw(),
                                bias.defined() ? bias.raw() : nullptr, asked.targets.data<std::int32_t>(), total, V, C,
                                kernels::Write::kAssign, options, context.launch());
  const Tensor host = on_host(nll);
  const auto values = host.span<float>();
  return std::accumulate(values.begin(), values.end(), 0.0);
}

}  // namespace

DiversityInputs diversity_inputs(const Interactions& interactions) {
  DiversityInputs out;
  out.item_users.resize(static_cast<std::size_t>(interactions.items->size()));
  out.hidden = interactions.items->buckets();
  for (std::int32_t user = 0; user < interactions.users->size(); ++user) {
    const auto items = training_items(interactions, user);
    for (const std::int32_t item : items) ++out.item_users[static_cast<std::size_t>(item)];
    out.users += items.empty() ? 0 : 1;
  }
  return out;
}

RankingValidation::RankingValidation(std::shared_ptr<const HeldOut> users, RankingOptions options)
    : users_(std::move(users)), options_(std::move(options)) {
  const RankingMetrics metrics(options_.cutoffs);
  if (std::ranges::find(metrics.names(), options_.best_by) == metrics.names().end())
    throw ConfigError("evaluate.best_by = \"" + options_.best_by + "\" is not measured; there are " +
                      std::accumulate(metrics.names().begin(), metrics.names().end(), std::string(),
                                      [](const std::string& a, const std::string& b) { return a.empty() ? b : a + ", " + b; }));
}

Evaluation RankingValidation::run(Context& context, Task& task, const EvaluationPlan& plan) const {
  auto* const model = dynamic_cast<Ranker*>(&task);
  if (model == nullptr) throw ConfigError("ranking: the model is no recommender");
  const auto start = std::chrono::steady_clock::now();
  const Scoring scoring(context, *model);
  RankingMetrics metrics(options_.cutoffs), other(options_.cutoffs);
  SliceMetrics slices(options_.slices, options_.cutoffs);
  std::optional<DiversityMetrics> diversity, other_diversity;
  if (options_.lists) diversity.emplace(options_.cutoffs, *options_.lists);
  if (options_.lists && options_.both_rules) other_diversity = diversity;
  const Vocabulary& names = *users_->interactions().items;
  double sums[2] = {0, 0};  // nll, targets
  const auto measure = [&](std::int64_t begin, std::int64_t end) {
    const auto of = users_->collate(begin, end);
    const Asked asked(context, *model, of);
    const auto ranks_under = [&](const Candidates& among, bool leave_out_seen) {
      auto out = options_.candidates == 0 ? ranks_of(context, among.catalogue, asked, of)
                                          : ranks_among(context, among.catalogue, of.targets,
                                                        draw_candidates(*users_, of.targets, begin, end, options_.candidates,
                                                                        leave_out_seen, options_.seed));
      for (std::size_t t = 0; t < out.size(); ++t)
        if (names.is_bucket(of.targets.items[t])) out[t] = {kUnreachable, 0};
      return out;
    };
    const auto add_lists = [&](std::optional<DiversityMetrics>& to, const Candidates& among) {
      if (!to) return;
      for (const auto& list : lists_of(context, among.catalogue, std::ranges::max(options_.cutoffs))) to->add(list);
    };
    const Candidates all(context, asked, of, names, options_.leave_out_seen);
    const auto ranks = ranks_under(all, options_.leave_out_seen);
    add_lists(diversity, all);
    if (options_.both_rules) {
      const bool otherwise = !options_.leave_out_seen;
      const Candidates others(context, asked, of, names, otherwise);
      add_users(other, ranks_under(others, otherwise), of.targets);
      add_lists(other_diversity, others);
    }
    for (std::int64_t i = begin; i < end; ++i) {
      const auto at = static_cast<std::size_t>(i - begin);
      const auto first = static_cast<std::size_t>(of.targets.offsets[at]),
                 last = static_cast<std::size_t>(of.targets.offsets[at + 1]);
      const auto mine = std::span(ranks).subspan(first, last - first);
      const auto values = metrics.add(mine);
      slices.add(users_->user(i), of.targets.of(i - begin), mine);
      if (options_.each_user) options_.each_user(users_->user(i), values);
    }
    sums[0] += nll_of(context, asked, of);
    sums[1] += static_cast<double>(of.targets.items.size());
  };
  for_each_batch(samples(), plan, [&](std::int64_t begin, std::int64_t end) {
    for (std::int64_t at = begin, next = 0; at < end; at = next) {
      next = at + std::min(model->queries_at_once(), end - at);
      measure(at, next);
    }
  });
  if (plan.communicator != nullptr) {
    metrics.merge(*plan.communicator);
    if (options_.both_rules) other.merge(*plan.communicator);
    slices.merge(*plan.communicator);
    for (auto* lists : {&diversity, &other_diversity})
      if (*lists) (*lists)->merge(*plan.communicator);
    plan.communicator->all_reduce(sums, 2, kernels::DType::kFloat64, ReduceOp::kSum, nullptr);
  }
  Evaluation out;
  out.metrics = metrics.means();
  out.headline = metrics.headline();
  if (options_.both_rules) out.other_metrics = other.means();
  if (diversity) std::ranges::copy(diversity->values(), std::back_inserter(out.metrics));
  if (other_diversity) std::ranges::copy(other_diversity->values(), std::back_inserter(out.other_metrics));
  out.slices = slices.values();
  out.best_by = options_.best_by;
  out.candidates = options_.candidates;
  out.targets = static_cast<std::int64_t>(sums[1]);
  out.loss = sums[0] / sums[1];
  out.seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
  return out;
}

}  // namespace tradewind::models
