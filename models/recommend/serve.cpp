#include "models/recommend/serve.h"

#include <algorithm>
#include <cmath>
#include <iterator>

#include "runtime/core/transfer.h"

namespace tradewind::models {

using namespace runtime;  // NOLINT: as models are written

namespace {

[[noreturn]] void throw_not_a_number(const char* what) {
  throw DataError(std::string(what) + ": a score is not a number; the model's parameters are damaged");
}

std::vector<std::vector<Scored>> best_of(Context& context, const kernels::Catalogue& catalogue, std::int64_t top) {
  const std::int64_t k = std::min(top, catalogue.V);
  const Tensor ids = context.tensor({catalogue.N, k}, DType::kInt32), scores = context.tensor({catalogue.N, k});
  kernels::catalogue_top_k(ids.data<std::int32_t>(), scores.data<float>(), catalogue, k, context.launch());
  const Tensor host_ids = on_host(ids), host_scores = on_host(scores);
  std::vector<std::vector<Scored>> out(static_cast<std::size_t>(catalogue.N));
  for (std::int64_t i = 0; i < catalogue.N * k; ++i) {
    const Scored scored{host_ids.data<std::int32_t>()[i], host_scores.data<float>()[i]};
    if (std::isnan(scored.score)) throw_not_a_number("recommending");
    if (scored.item >= 0) out[static_cast<std::size_t>(i / k)].push_back(scored);
  }
  return out;
}

/// Calls body(asked) for runs of at most `most` of them, in order.
template <class Body>
void for_each_block(const Asked& asked, std::int64_t most, const Body& body) {
  const auto n = asked.histories.size(), step = static_cast<std::size_t>(std::min(most, static_cast<std::int64_t>(n)));
  require(asked.users.empty() || asked.users.size() == n, "serve", "users are one a history, or none");
  for (std::size_t begin = 0; begin < n; begin += step) {
    const std::size_t count = std::min(step, n - begin);
    body(Asked{asked.histories.subspan(begin, count), asked.users.empty() ? asked.users : asked.users.subspan(begin, count),
               asked.times.empty() ? asked.times : asked.times.subspan(begin, count)});
  }
}

}  // namespace

std::vector<std::vector<Scored>> recommend(Context& context, Ranker& model, const Asked& asked, const ServeOptions& options) {
  std::vector<std::vector<Scored>> out;
  const Scoring scoring(context, model);
  Tensor allow;
  if (!options.allow.empty()) {
    require(static_cast<std::int64_t>(options.allow.size()) == model.items(), "recommend", "allow is of another catalogue");
    allow = on_device_of<std::uint8_t>(context, options.allow);
  }
  for_each_block(asked, model.queries_at_once(), [&](const Asked& some) {
    const auto scores =
        model.scores(context, on_device(context, pack_histories(some.histories, options.history, some.users, some.times)));
    auto catalogue = scores.catalogue();
    std::vector<std::int64_t> offsets{0};
    std::vector<std::int32_t> seen;
    for (auto history : some.histories) {
      std::ranges::sort(history);
      history.erase(std::unique(history.begin(), history.end()), history.end());
      seen.insert(seen.end(), history.begin(), history.end());
      offsets.push_back(static_cast<std::int64_t>(seen.size()));
    }
    const Tensor at = on_device_of<std::int64_t>(context, offsets), excluded = on_device_of<std::int32_t>(context, seen);
    if (options.leave_out_seen) {
      catalogue.exclude_offsets = at.data<std::int64_t>();
      catalogue.exclude = excluded.data<std::int32_t>();
    }
    if (allow.defined()) catalogue.allow = allow.data<std::uint8_t>();
    auto best = best_of(context, catalogue, options.top);
    std::ranges::move(best, std::back_inserter(out));
  });
  return out;
}

std::vector<float> score_pairs(Context& context, Ranker& model, const Asked& asked, std::span<const Pair> pairs,
                               const HistoryForm& form) {
  std::vector<float> out(pairs.size());
  const Scoring scoring(context, model);
  std::int64_t first = 0;
  for_each_block(asked, model.queries_at_once(), [&](const Asked& some) {
    const auto scores =
        model.scores(context, on_device(context, pack_histories(some.histories, form, some.users, some.times))).on_host();
    const auto end = first + static_cast<std::int64_t>(some.histories.size());
    for (std::size_t i = 0; i < pairs.size(); ++i)
      if (pairs[i].history >= first && pairs[i].history < end) out[i] = scores.score(pairs[i].history - first, pairs[i].item);
    first = end;
  });
  if (std::ranges::any_of(out, [](float score) { return std::isnan(score); })) throw_not_a_number("scoring pairs");
  return out;
}

Similar similar_items(Context& context, Ranker& model, std::int32_t item, std::int64_t top,
                      std::span<const std::uint8_t> allow) {
  auto likeness = model.likeness(context, item);
  const std::int64_t offsets[] = {0, 1};
  const std::int32_t itself[] = {item};
  const Tensor at = on_device_of<std::int64_t>(context, offsets), excluded = on_device_of<std::int32_t>(context, itself);
  auto catalogue = likeness.scores.catalogue();
  catalogue.exclude_offsets = at.data<std::int64_t>();
  catalogue.exclude = excluded.data<std::int32_t>();
  const Tensor allowed = allow.empty() ? Tensor() : on_device_of<std::uint8_t>(context, allow);
  if (!allow.empty()) catalogue.allow = allowed.data<std::uint8_t>();
  Similar out{
      .items = best_of(context, catalogue, top)[0], .name = std::move(likeness.name), .meaning = std::move(likeness.meaning)};
  if (likeness.some_unlike) std::erase_if(out.items, [](const Scored& scored) { return scored.score == 0; });
  return out;
}

}  // namespace tradewind::models
