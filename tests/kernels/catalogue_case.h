// Problems of catalogue scoring and their float64 oracle, for every executor: the CPU (catalogue_test.cpp) and the CUDA kernels
// on the executor of tests/simt.
#pragma once

#include <algorithm>
#include <functional>
#include <numeric>

#include "kernels/catalogue.h"
#include "tests/support/oracle.h"
#include "tests/support/placed_arrays.h"

namespace tradewind::tests {

using kernels::DType;

struct CatalogueProblem {
  std::int64_t N, V, C, w_stride;
  std::vector<float> x, w, bias;
  std::vector<std::int64_t> exclude_offsets{};
  std::vector<std::int32_t> exclude{};
  std::vector<std::uint8_t> allow{};
  std::vector<std::int64_t> target_offsets{};
  std::vector<std::int32_t> targets{};
  std::vector<float> given{};  // [N, V]; the scores, where it is not empty

  bool allowed(std::int64_t v) const { return allow.empty() || allow[v] != 0; }
  bool candidate(std::int64_t n, std::int64_t v) const {
    if (!allowed(v)) return false;
    if (exclude_offsets.empty()) return true;
    return std::find(exclude.begin() + exclude_offsets[n], exclude.begin() + exclude_offsets[n + 1], v) ==
           exclude.begin() + exclude_offsets[n + 1];
  }
  double score(std::int64_t n, std::int64_t v) const {
    if (!given.empty()) return given[n * V + v];
    double z = bias.empty() ? 0 : bias[v];
    for (std::int64_t c = 0; c < C; ++c) z += static_cast<double>(x[n * C + c]) * w[v * w_stride + c];
    return z;
  }
};

/// Values that every sum is exact of in float32, and in bfloat16 itself: so ranks are those of float64, and ties are many.
inline std::vector<float> exact_values(std::int64_t count, std::uint32_t seed) {
  auto values = random_values(count, seed);
  for (auto& value : values) value = std::round(std::clamp(value, -2.0F, 2.0F) * 2) / 4;
  return values;
}

/// `extras`: bias, exclusions (some twice, some queries without), items that are not allowed, a wider stride.
inline CatalogueProblem catalogue_problem(std::int64_t N, std::int64_t V, std::int64_t C, bool extras, bool exact = true) {
  const auto values = [&](std::int64_t count, std::uint32_t seed) {
    return exact ? exact_values(count, seed) : random_values(count, seed);
  };
  CatalogueProblem p{.N = N, .V = V, .C = C, .w_stride = extras ? C + 3 : C, .x = values(N * C, 1), .w = {}, .bias = {}};
  p.w = values(V * p.w_stride, 2);
  // Rows that occur again far away: equal scores, which only equal bits make equal.
  if (!exact)
    for (std::int64_t v = V / 2; v < V; v += 3)
      std::copy_n(p.w.begin() + (V - 1 - v) * p.w_stride, C, p.w.begin() + v * p.w_stride);
  if (extras) {
    p.bias = exact_values(V, 3);
    p.exclude_offsets = {0};
    for (std::int64_t n = 0; n < N; ++n) {
      for (std::int64_t v = n % 5; v < V && n % 4 != 1; v += 1 + (n * 31 + v * 7) % 11)
        p.exclude.insert(p.exclude.end(), v % 3 == 0 ? 2 : 1, static_cast<std::int32_t>(v));
      p.exclude_offsets.push_back(static_cast<std::int64_t>(p.exclude.size()));
    }
    p.allow.resize(V);
    for (std::int64_t v = 0; v < V; ++v) p.allow[v] = v % 7 == 2 ? 0 : 1 + v % 2;
  }
  p.target_offsets = {0};
  for (std::int64_t n = 0; n < N; ++n) {
    for (std::int64_t t = 0; t < (n * 3 + 1) % 5; ++t)
      p.targets.push_back(static_cast<std::int32_t>((n * 7919 + t * 104729) % V));
    p.target_offsets.push_back(static_cast<std::int64_t>(p.targets.size()));
  }
  return p;
}

/// The same problem with its scores given.
inline CatalogueProblem with_given_scores(CatalogueProblem p) {
  std::vector<float> scores;
  for (std::int64_t n = 0; n < p.N; ++n)
    for (std::int64_t v = 0; v < p.V; ++v) scores.push_back(static_cast<float>(p.score(n, v)));
  p.given = std::move(scores);
  p.x = p.w = p.bias = {};
  p.C = p.w_stride = 0;
  return p;
}

struct BestK {
  std::vector<std::int32_t> ids;
  std::vector<float> scores;
};
struct Ranks {
  std::vector<std::int32_t> greater, equal;
};

/// By the words of the contract.
inline BestK best_k_oracle(const CatalogueProblem& p, std::int64_t k) {
  BestK out;
  for (std::int64_t n = 0; n < p.N; ++n) {
    std::vector<std::pair<double, std::int32_t>> order;
    for (std::int64_t v = 0; v < p.V; ++v)
      if (p.candidate(n, v)) order.emplace_back(-p.score(n, v), static_cast<std::int32_t>(v));
    std::sort(order.begin(), order.end());
    order.resize(k, {INFINITY, -1});
    for (const auto& [score, id] : order) out.ids.push_back(id), out.scores.push_back(static_cast<float>(-score));
  }
  return out;
}
inline Ranks ranks_oracle(const CatalogueProblem& p) {
  Ranks out;
  for (std::int64_t n = 0; n < p.N; ++n)
    for (std::int64_t t = p.target_offsets[n]; t < p.target_offsets[n + 1]; ++t) {
      const double mine = p.score(n, p.targets[t]);
      std::int32_t greater = 0, equal = 0;
      for (std::int64_t v = 0; v < p.V; ++v) {
        if (v == p.targets[t] || !p.candidate(n, v)) continue;
        const double z = p.score(n, v);
        greater += z > mine, equal += z == mine;
      }
      out.greater.push_back(greater), out.equal.push_back(equal);
    }
  return out;
}

/// Where and how a case runs. The calls as kernels::catalogue_..., which they are where null.
struct CatalogueWay {
  Place* place = nullptr;  // null: the CPU
  int threads = 2;
  DType dtype = DType::kFloat32;
  std::function<void(std::int32_t*, float*, const kernels::Catalogue&, std::int64_t, const kernels::Launch&)> top_k =
      kernels::catalogue_top_k;
  std::function<void(std::int32_t*, std::int32_t*, const kernels::Catalogue&, const std::int64_t*, const std::int32_t*,
                     std::int64_t, const kernels::Launch&)>
      rank = kernels::catalogue_rank;
};

inline kernels::Catalogue placed(const CatalogueProblem& p, const CatalogueWay& way, PlacedArrays& at) {
  return {.x = at.read(p.x),
          .w = at.read(p.w),
          .bias = at.read(p.bias),
          .scores = at.values(p.given),
          .N = p.N,
          .V = p.V,
          .C = p.C,
          .w_stride = p.w_stride,
          .exclude_offsets = at.values(p.exclude_offsets),
          .exclude = at.values(p.exclude),
          .allow = at.values(p.allow),
          .dtype = p.given.empty() ? way.dtype : DType::kFloat32};
}
inline BestK best_k(const CatalogueProblem& p, std::int64_t k, const CatalogueWay& way = {}) {
  BestK out{std::vector<std::int32_t>(p.N * k, -7), std::vector<float>(p.N * k, NAN)};
  PlacedArrays at(way.place, way.dtype);
  way.top_k(at.array(out.ids), at.array(out.scores), placed(p, way, at), k, at.launch(way.threads));
  at.fetch();
  return out;
}
inline Ranks ranks(const CatalogueProblem& p, const CatalogueWay& way = {}) {
  Ranks out{std::vector<std::int32_t>(p.targets.size(), -7), std::vector<std::int32_t>(p.targets.size(), -7)};
  PlacedArrays at(way.place, way.dtype);
  way.rank(at.array(out.greater), at.array(out.equal), placed(p, way, at), at.values(p.target_offsets), at.values(p.targets),
           static_cast<std::int64_t>(p.targets.size()), at.launch(way.threads));
  at.fetch();
  return out;
}

inline void check_catalogue(const std::string& what, const CatalogueProblem& p, const CatalogueWay& way) {
  for (const std::int64_t k : {std::int64_t{1}, std::int64_t{10}, p.V}) {
    if (k > p.V) continue;
    const BestK got = best_k(p, k, way), want = best_k_oracle(p, k);
    BOOST_CHECK_MESSAGE(got.ids == want.ids, what << " ids, k " << k);
    BOOST_CHECK_MESSAGE(got.scores == want.scores, what << " scores, k " << k);
  }
  const Ranks got = ranks(p, way), want = ranks_oracle(p);
  BOOST_CHECK_MESSAGE(got.greater == want.greater, what << " greater");
  BOOST_CHECK_MESSAGE(got.equal == want.equal, what << " equal");
}

using CatalogueCheck = std::function<void(const std::string& what, const CatalogueProblem& p)>;

/// Sizes below and above those of blocks, with and without everything that is optional. No query, and queries without a target.
/// Scores that are products, and the same ones given.
inline void for_each_catalogue(const CatalogueCheck& check) {
  const std::int64_t shapes[][3] = {{1, 1, 1},   {7, 5, 3},     {1, 65, 7},   {65, 100, 7}, {100, 40, 64},
                                    {5, 513, 8}, {2, 1100, 65}, {97, 30, 20}, {0, 10, 4}};
  for (const auto& [N, V, C] : shapes)
    for (const bool extras : {false, true}) {
      const auto problem = catalogue_problem(N, V, C, extras);
      std::string what = std::string("N").append(std::to_string(N)).append(" V").append(std::to_string(V));
      what.append(extras ? " all options" : "");
      check(what, problem);
      if (N > 0) check(what.append(" given"), with_given_scores(problem));
    }
}

/// Scores that round: the place that the best k give an item is what its rank says, which only the very same floats do.
inline void check_ranks_are_places(const std::string& what, CatalogueProblem p, const CatalogueWay& way) {
  const BestK all = best_k(p, p.V, way);
  p.target_offsets = {0}, p.targets.clear();
  for (std::int64_t n = 0; n < p.N; ++n) {
    for (std::int64_t v = 0; v < p.V; ++v)
      if (p.candidate(n, v)) p.targets.push_back(static_cast<std::int32_t>(v));
    p.target_offsets.push_back(static_cast<std::int64_t>(p.targets.size()));
  }
  const Ranks got = ranks(p, way);
  double worst = 0;
  for (std::int64_t n = 0; n < p.N; ++n) {
    const auto *ids = all.ids.data() + n * p.V, *end = ids + p.target_offsets[n + 1] - p.target_offsets[n];
    const float* scores = all.scores.data() + n * p.V;
    for (std::int64_t t = p.target_offsets[n]; t < p.target_offsets[n + 1]; ++t) {
      const auto place = std::find(ids, end, p.targets[t]) - ids;
      BOOST_REQUIRE(ids + place != end);
      const auto greater = std::find(scores, scores + place, scores[place]) - scores;
      const auto equal = std::count(scores, scores + (end - ids), scores[place]) - 1;
      BOOST_CHECK_MESSAGE(got.greater[t] == greater && got.equal[t] == equal,
                          what << " query " << n << " item " << p.targets[t] << ": " << got.greater[t] << " and "
                               << got.equal[t] << ", the best k say " << greater << " and " << equal);
      const double error = std::abs(scores[place] - p.score(n, p.targets[t])) / static_cast<double>(p.C);
      if (!(error <= worst)) worst = error;
    }
  }
  BOOST_CHECK_MESSAGE(!!(worst <= (way.dtype == DType::kBFloat16 ? 1e-2 : 1e-6)), what << " scores are off by " << worst);
}

}  // namespace tradewind::tests
