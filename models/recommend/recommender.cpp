#include "models/recommend/recommender.h"

#include <cmath>

#include "kernels/base/bfloat16.h"
#include "kernels/embedding.h"
#include "runtime/core/transfer.h"

namespace tradewind::models {

using namespace runtime;  // NOLINT: as models are written

Tensor last_rows(Context& context, const Tensor& x, const Batch& batch) {
  const auto* offsets = batch.on_host("offsets").data<std::int64_t>();
  const std::int64_t S = batch["offsets"].elements() - 1, N = x.size(0), C = x.size(1);
  Tensor out = context.tensor({S, C}, x.dtype());
  const Tensor rows(host_allocator(), {S}, DType::kInt32);
  for (std::int64_t s = 0; s < S; ++s)
    rows.data<std::int32_t>()[s] = static_cast<std::int32_t>(offsets[s + 1] > offsets[s] ? offsets[s + 1] - 1 : 0);
  if (N == 0) {
    out.zero();
    return out;
  }
  const Tensor where = on_device(context, rows);
  kernels::embedding_forward(out.raw(), x.raw(), where.data<std::int32_t>(), S, N, C, kernels::Write::kAssign, x.dtype(),
                             context.launch());
  for (std::int64_t s = 0; s < S; ++s)
    if (offsets[s + 1] == offsets[s]) out.view(s * C, {C}).zero();
  return out;
}

kernels::Catalogue CatalogueScores::catalogue() const {
  if (given.defined()) return {.scores = given.data<float>(), .N = given.size(0), .V = given.size(1)};
  require(queries.size(1) == items.size(1) && queries.dtype() == items.dtype(), "CatalogueScores",
          "queries and items differ in width or type");
  return {.x = queries.raw(),
          .w = items.raw(),
          .bias = bias.defined() ? bias.raw() : nullptr,
          .N = queries.size(0),
          .V = items.size(0),
          .C = items.size(1),
          .dtype = queries.dtype()};
}

Tensor host_floats(const Tensor& x) {
  Tensor host = on_host(x);
  if (host.dtype() == DType::kFloat32) return host;
  Tensor out(host_allocator(), host.shape(), DType::kFloat32);
  const auto* const bits = static_cast<const std::uint16_t*>(host.raw());
  for (std::int64_t i = 0; i < out.elements(); ++i) out.data<float>()[i] = kernels::float_of_bfloat16_bits(bits[i]);
  return out;
}

CatalogueScores CatalogueScores::on_host() const {
  const auto here = [](const Tensor& x) { return x.defined() ? host_floats(x) : x; };
  return {.queries = here(queries), .items = here(items), .bias = here(bias), .given = here(given)};
}

float CatalogueScores::score(std::int64_t n, std::int32_t item) const {
  if (given.defined()) return given.data<float>()[n * given.size(1) + item];
  require(queries.dtype() == DType::kFloat32, "CatalogueScores", "scores of single items are of on_host()");
  const std::int64_t C = items.size(1);
  double score = bias.defined() ? bias.data<float>()[item] : 0;
  for (std::int64_t c = 0; c < C; ++c) score += double{queries.data<float>()[n * C + c]} * items.data<float>()[item * C + c];
  return static_cast<float>(score);
}

CatalogueScores Recommender::scores(Context& context, const Batch& batch) {
  return {.queries = queries(context, batch),
          .items = kept_items_.defined() ? kept_items_ : item_vectors(context),
          .bias = item_bias(),
          .given = {}};
}

bool Recommender::keep_items(Context& context) {
  if (kept_items_.defined()) return false;
  kept_items_ = item_vectors(context);
  return true;
}

Likeness Recommender::likeness(Context& context, std::int32_t item) {
  const Tensor vectors = host_floats(item_vectors(context));
  const std::int64_t V = vectors.size(0), C = vectors.size(1);
  const Tensor unit(host_allocator(), {V, C}, DType::kFloat32);
  for (std::int64_t v = 0; v < V; ++v) {
    const float* from = vectors.data<float>() + v * C;
    double square = 0;
    for (std::int64_t c = 0; c < C; ++c) square += double{from[c]} * from[c];
    const double by = square > 0 ? 1 / std::sqrt(square) : 0;
    for (std::int64_t c = 0; c < C; ++c) unit.data<float>()[v * C + c] = static_cast<float>(from[c] * by);
  }
  const Tensor query = unit.view(item * C, {1, C});
  return {.scores = {.queries = on_device(context, query), .items = on_device(context, unit), .bias = {}, .given = {}},
          .name = "cosine",
          .meaning = "of the items' vectors"};
}

}  // namespace tradewind::models
