#include "models/recommend/serve.h"

#include <algorithm>
#include <cmath>

#include "runtime/core/transfer.h"

namespace tradewind::models {

using namespace runtime;  // NOLINT: as models are written

namespace {

std::vector<std::vector<Scored>> best_of(Context& context, const kernels::Catalogue& catalogue, std::int64_t top) {
  const std::int64_t k = std::min(top, catalogue.V);
  const Tensor ids = context.tensor({catalogue.N, k}, DType::kInt32), scores = context.tensor({catalogue.N, k});
  kernels::catalogue_top_k(ids.data<std::int32_t>(), scores.data<float>(), catalogue, k, context.launch());
  const Tensor host_ids = on_host(ids), host_scores = on_host(scores);
  std::vector<std::vector<Scored>> out(static_cast<std::size_t>(catalogue.N));
  for (std::int64_t i = 0; i < catalogue.N * k; ++i) {
    const Scored scored{host_ids.data<std::int32_t>()[i], host_scores.data<float>()[i]};
    if (std::isnan(scored.score)) throw DataError("recommending: a score is not a number; the model's parameters are damaged");
    if (scored.item >= 0) out[static_cast<std::size_t>(i / k)].push_back(scored);
  }
  return out;
}

}  // namespace

std::vector<std::vector<Scored>> recommend(Context& context, Recommender& model,
                                           std::span<const std::vector<std::int32_t>> histories, const ServeOptions& options) {
  if (histories.empty()) return {};
  const Tensor queries = model.queries(context, on_device(context, pack_histories(histories, options.history)));
  const Tensor items = model.item_vectors(context), bias = model.item_bias();
  auto catalogue = catalogue_of(queries, items, bias);
  std::vector<std::int64_t> offsets{0};
  std::vector<std::int32_t> seen;
  for (auto history : histories) {
    std::ranges::sort(history);
    history.erase(std::unique(history.begin(), history.end()), history.end());
    seen.insert(seen.end(), history.begin(), history.end());
    offsets.push_back(static_cast<std::int64_t>(seen.size()));
  }
  const Tensor at = on_device_of<std::int64_t>(context, offsets), excluded = on_device_of<std::int32_t>(context, seen);
  Tensor allow;
  if (options.leave_out_seen) {
    catalogue.exclude_offsets = at.data<std::int64_t>();
    catalogue.exclude = excluded.data<std::int32_t>();
  }
  if (!options.allow.empty()) {
    require(static_cast<std::int64_t>(options.allow.size()) == catalogue.V, "recommend", "allow is of another catalogue");
    allow = on_device_of<std::uint8_t>(context, options.allow);
    catalogue.allow = allow.data<std::uint8_t>();
  }
  return best_of(context, catalogue, options.top);
}

std::vector<float> score_pairs(Context& context, Recommender& model, std::span<const std::vector<std::int32_t>> histories,
                               std::span<const Pair> pairs, const HistoryForm& form) {
  const Tensor queries = on_host(model.queries(context, on_device(context, pack_histories(histories, form))));
  const Tensor items = on_host(model.item_vectors(context)), bias = model.item_bias();
  require(queries.dtype() == DType::kFloat32, "score_pairs", "vectors are float32");
  const Tensor host_bias = bias.defined() ? on_host(bias) : Tensor();
  const std::int64_t C = items.size(1);
  std::vector<float> out;
  for (const auto& [history, item] : pairs) {
    double score = host_bias.defined() ? host_bias.data<float>()[item] : 0;
    for (std::int64_t c = 0; c < C; ++c)
      score += double{queries.data<float>()[history * C + c]} * items.data<float>()[item * C + c];
    out.push_back(static_cast<float>(score));
  }
  return out;
}

std::vector<Scored> similar_items(Context& context, Recommender& model, std::int32_t item, std::int64_t top) {
  const Tensor vectors = on_host(model.item_vectors(context));
  require(vectors.dtype() == DType::kFloat32, "similar_items", "vectors are float32");
  const std::int64_t V = vectors.size(0), C = vectors.size(1);
  const Tensor unit(host_allocator(), {V, C}, DType::kFloat32);
  for (std::int64_t v = 0; v < V; ++v) {
    double square = 0;
    for (std::int64_t c = 0; c < C; ++c) square += double{vectors.data<float>()[v * C + c]} * vectors.data<float>()[v * C + c];
    const double by = square > 0 ? 1 / std::sqrt(square) : 0;
    for (std::int64_t c = 0; c < C; ++c)
      unit.data<float>()[v * C + c] = static_cast<float>(vectors.data<float>()[v * C + c] * by);
  }
  const Tensor query = unit.view(item * C, {1, C});
  const std::int64_t offsets[] = {0, 1};
  const std::int32_t itself[] = {item};
  const Tensor all = on_device(context, unit), one = on_device(context, query),
               at = on_device_of<std::int64_t>(context, offsets), excluded = on_device_of<std::int32_t>(context, itself);
  auto catalogue = catalogue_of(one, all, {});
  catalogue.exclude_offsets = at.data<std::int64_t>();
  catalogue.exclude = excluded.data<std::int32_t>();
  return best_of(context, catalogue, top)[0];
}

}  // namespace tradewind::models
