// Problems of candidate_loss, their float64 oracle, and the list of cases that every executor must solve: the CPU
// (candidate_loss_test.cpp) and the CUDA kernels on the executor of tests/simt.
#pragma once

#include <functional>
#include <string>
#include <tuple>

#include "kernels/candidate_loss.h"
#include "tests/support/oracle.h"
#include "tests/support/placed_arrays.h"

namespace tradewind::tests {

using kernels::CandidateLossKind;
using kernels::CandidateLossOptions;
using kernels::CandidateMean;
using kernels::DType;
using kernels::Write;

struct CandidateInputs {
  std::int64_t N, V, C, n;
  std::vector<float> x, w, bias, log_q;
  std::vector<std::int32_t> identity, targets, negatives;
};

struct CandidateExtras {
  bool bias = false, log_q = false, identity = false;
  bool ignored = false;  // some rows do not count, some negatives are not there
};

/// Ids are few, so that hits happen and rows of w are used again and again.
inline CandidateInputs candidate_inputs(std::int64_t N, std::int64_t V, std::int64_t C, std::int64_t n, bool shared,
                                        const CandidateExtras& extras = {}) {
  CandidateInputs in{.N = N,
                     .V = V,
                     .C = C,
                     .n = n,
                     .x = random_values(N * C, 1),
                     .w = random_values(V * C, 2, 0.5),
                     .bias = extras.bias ? random_values(V, 3) : std::vector<float>(),
                     .log_q = extras.log_q ? random_values(V, 4) : std::vector<float>(),
                     .identity = {},
                     .targets = std::vector<std::int32_t>(N),
                     .negatives = std::vector<std::int32_t>(shared ? n : N * n)};
  for (std::int64_t v = 0; v < V && extras.identity; ++v) in.identity.push_back(static_cast<std::int32_t>(v / 3));
  for (std::int64_t i = 0; i < N; ++i)
    in.targets[i] = extras.ignored && i % 3 == 1 ? -100 : static_cast<std::int32_t>(i * 7919 % V);
  for (std::size_t i = 0; i < in.negatives.size(); ++i)
    in.negatives[i] = extras.ignored && i % 5 == 2 ? -100 : static_cast<std::int32_t>((i * i * 31 + i * 17) % V);
  return in;
}

/// The op in float64: losses, and the gradients of scale * sum(loss) by formula.
struct CandidateOracle {
  std::vector<double> loss, dx, dw, dbias;
  double total = 0;

  CandidateOracle(const CandidateInputs& in, const std::vector<double>& x, const std::vector<double>& w,
                  const std::vector<double>& bias, const CandidateLossOptions& o, double scale)
      : loss(in.N), dx(in.N * in.C), dw(in.V * in.C), dbias(in.V) {
    for (std::int64_t i = 0; i < in.N; ++i) {
      const std::int32_t target = in.targets[i];
      if (target == o.ignore_index) continue;
      std::vector<std::int32_t> ids{target};
      for (std::int64_t j = 0; j < in.n; ++j) {
        const std::int32_t id = in.negatives[o.shared_negatives ? j : i * in.n + j];
        if (id == o.ignore_index) continue;
        const bool hit = in.identity.empty() ? id == target : in.identity[id] == in.identity[target];
        if (!(o.remove_hits && hit)) ids.push_back(id);
      }
      std::vector<double> z, g(ids.size());
      for (const std::int32_t id : ids) {
        double dot = 0;
        for (std::int64_t c = 0; c < in.C; ++c) dot += x[i * in.C + c] * w[id * in.C + c];
        z.push_back(o.scale * dot + (bias.empty() ? 0 : bias[id]) - (in.log_q.empty() ? 0 : in.log_q[id]));
      }
      loss[i] = row(z, g, o, in);
      total += scale * loss[i];
      for (std::size_t j = 0; j < ids.size(); ++j) {
        dbias[ids[j]] += scale * g[j];
        for (std::int64_t c = 0; c < in.C; ++c) {
          dx[i * in.C + c] += scale * o.scale * g[j] * w[ids[j] * in.C + c];
          dw[ids[j] * in.C + c] += scale * o.scale * g[j] * x[i * in.C + c];
        }
      }
    }
  }

 private:
  static double softplus(double z) { return z > 0 ? z + std::log1p(std::exp(-z)) : std::log1p(std::exp(z)); }
  static double sigmoid(double z) { return 1 / (1 + std::exp(-z)); }

  static double row(const std::vector<double>& z, std::vector<double>& g, const CandidateLossOptions& o,
                    const CandidateInputs& in) {
    const double m = static_cast<double>(z.size()) - 1;
    double loss = 0;
    if (o.kind == CandidateLossKind::kSoftmax) {
      double most = -INFINITY, sum = 0;
      for (const double value : z) most = std::max(most, value);
      for (const double value : z) sum += std::exp(value - most);
      for (std::size_t j = 0; j < z.size(); ++j) g[j] = std::exp(z[j] - most) / sum - (j == 0 ? 1 : 0);
      return most + std::log(sum) - z[0];
    }
    const double p0 = o.mean == CandidateMean::kCandidates ? 1 / (1 + m) : 1;
    const double p1 = o.mean == CandidateMean::kSum ? 1 : o.mean == CandidateMean::kNegatives ? 1 / std::max(m, 1.0) : p0;
    if (o.kind == CandidateLossKind::kBpr) {
      for (std::size_t j = 1; j < z.size(); ++j) {
        loss += p1 * softplus(z[j] - z[0]);
        g[j] = p1 * sigmoid(z[j] - z[0]);
        g[0] -= g[j];
      }
      return loss;
    }
    double beta = 1;
    if (o.kind == CandidateLossKind::kGbce) {
      const double alpha = static_cast<double>(in.n) / static_cast<double>((o.items == 0 ? in.V : o.items) - 1),
                   t = o.calibration;
      beta = t * (alpha - 1) + 1;
    }
    loss = p0 * beta * softplus(-z[0]);
    g[0] = -p0 * beta * sigmoid(-z[0]);
    for (std::size_t j = 1; j < z.size(); ++j) loss += p1 * softplus(z[j]), g[j] = p1 * sigmoid(z[j]);
    return loss;
  }
};

struct CandidateOutputs {
  std::vector<float> loss, dx, dw, dbias;
};

/// Where and how a case runs.
struct CandidateWay {
  Place* place = nullptr;  // null: the CPU
  int threads = 2;
  DType dtype = DType::kFloat32;
  bool sparse = false;  // dw comes from the sparse form; Write is then of dbias alone, and dw assigned
  float loss_scale = 0.25F;
  std::function<void(float*, void*, float*, float*, const kernels::CandidateBatch&, Write, const CandidateLossOptions&,
                     const kernels::Launch&)>
      call = kernels::candidate_loss;
};

/// dw and dbias begin as random_values(.., 5) and (.., 6).
inline CandidateOutputs run_candidates(const CandidateInputs& in, CandidateLossOptions options, Write write,
                                       const CandidateWay& way = {}) {
  CandidateOutputs out{std::vector<float>(in.N, NAN), std::vector<float>(in.N * in.C, NAN), random_values(in.V * in.C, 5),
                       random_values(in.V, 6)};
  options.dtype = way.dtype;
  kernels::StepState step;
  step.loss_scale[options.task] = way.loss_scale;
  PlacedArrays at(way.place, way.dtype);
  const kernels::CandidateBatch batch{.x = at.read(in.x),
                                      .w = at.read(in.w),
                                      .bias = at.values(in.bias),
                                      .log_q = at.values(in.log_q),
                                      .identity = at.values(in.identity),
                                      .targets = at.values(in.targets),
                                      .negatives = at.values(in.negatives),
                                      .N = in.N,
                                      .V = in.V,
                                      .C = in.C,
                                      .n = in.n};
  kernels::Launch launch = at.launch(way.threads);
  launch.step = at.value(step);
  float* const dbias = options.scale == 1 ? at.array(out.dbias) : nullptr;
  if (!way.sparse) {
    way.call(at.array(out.loss), at.elements(out.dx), at.array(out.dw), dbias, batch, write, options, launch);
    at.fetch();
    return out;
  }
  const std::int64_t most = std::min(in.V, kernels::candidate_count(batch, options));
  std::vector<std::int32_t> rows(most, -7);
  std::vector<float> values(most * in.C, NAN);
  const std::int64_t count = kernels::candidate_loss_sparse(at.array(out.loss), at.elements(out.dx), at.array(rows),
                                                            at.array(values), dbias, batch, write, options, launch);
  at.fetch();
  std::fill(out.dw.begin(), out.dw.end(), 0.0F);
  BOOST_REQUIRE(count <= most);
  for (std::int64_t i = 0; i < count; ++i) {
    BOOST_REQUIRE(rows[i] >= 0 && rows[i] < in.V && (i == 0 || rows[i - 1] < rows[i]));
    std::copy_n(values.begin() + i * in.C, in.C, out.dw.begin() + rows[i] * in.C);
  }
  return out;
}

inline void check_candidates(const std::string& what, const CandidateInputs& given, const CandidateLossOptions& options,
                             Write write, const CandidateWay& way, double tolerance) {
  CandidateInputs in = given;
  in.x = rounded_to(way.dtype, in.x), in.w = rounded_to(way.dtype, in.w);
  const CandidateOutputs got = run_candidates(in, options, write, way);
  CandidateOracle want(in, widen(in.x), widen(in.w), widen(in.bias), options, way.loss_scale);
  const auto dw = random_values(in.V * in.C, 5), dbias = random_values(in.V, 6);
  if (write == Write::kAccumulate) {
    for (std::size_t i = 0; i < dw.size() && !way.sparse; ++i) want.dw[i] += dw[i];
    for (std::size_t i = 0; i < dbias.size(); ++i) want.dbias[i] += dbias[i];
  }
  if (options.scale != 1) want.dbias = widen(dbias);
  for (const auto& [name, a, b] : {std::tuple{"loss", &got.loss, &want.loss},
                                   {"dx", &got.dx, &want.dx},
                                   {"dw", &got.dw, &want.dw},
                                   {"dbias", &got.dbias, &want.dbias}}) {
    const double error = relative_error(*a, *b, 0.1);
    BOOST_CHECK_MESSAGE(!!(error <= tolerance), what << " " << name << ": " << error);
  }
}

using CandidateCheck =
    std::function<void(const std::string& what, const CandidateInputs& in, const CandidateLossOptions& options, Write write)>;

/// Sizes, ways to write, own and shared negatives; tables that are small and large beside their candidates.
inline void for_each_candidate_size(const CandidateCheck& check) {
  const std::int64_t shapes[][4] = {{1, 2, 1, 1},     {7, 5, 3, 2},     {65, 100, 7, 1},   {100, 65, 64, 9},
                                    {3, 300, 65, 40}, {300, 33, 20, 5}, {40, 2000, 16, 3}, {0, 4, 3, 2}};
  int turn = 0;
  for (const auto& [N, V, C, n] : shapes)
    for (const bool shared : {false, true})
      for (const Write write : {Write::kAssign, Write::kAccumulate}) {
        ++turn;
        const CandidateLossOptions options{.kind = turn % 2 == 0 ? CandidateLossKind::kSoftmax : CandidateLossKind::kBce,
                                           .shared_negatives = shared,
                                           .remove_hits = turn % 4 < 2};
        std::string what("N");
        what.append(std::to_string(N))
            .append(" V")
            .append(std::to_string(V))
            .append(" n")
            .append(std::to_string(n))
            .append(shared ? " shared" : "");
        check(what, candidate_inputs(N, V, C, n, shared, {.ignored = turn % 3 == 0}), options, write);
      }
}

/// Every loss with every mean, and everything that is optional.
inline void for_each_candidate_option(const CandidateCheck& check) {
  for (const CandidateLossKind kind :
       {CandidateLossKind::kBce, CandidateLossKind::kGbce, CandidateLossKind::kBpr, CandidateLossKind::kSoftmax})
    for (const CandidateMean mean : {CandidateMean::kSum, CandidateMean::kNegatives, CandidateMean::kCandidates})
      for (const bool shared : {false, true})
        for (int extra = 0; extra < 4; ++extra) {
          if (kind == CandidateLossKind::kBpr && mean == CandidateMean::kCandidates) continue;
          if (kind == CandidateLossKind::kSoftmax && mean != CandidateMean::kSum) continue;
          const CandidateLossOptions options{.kind = kind,
                                             .mean = mean,
                                             .calibration = extra == 1 ? 1.0F : 0.75F,
                                             .items = extra == 2 ? 400 : 0,
                                             .scale = extra == 3 ? 2.5F : 1.0F,
                                             .shared_negatives = shared,
                                             .remove_hits = extra % 2 == 1,
                                             .task = 3};
          const CandidateExtras extras{.bias = extra == 1 || extra == 2,
                                       .log_q = kind == CandidateLossKind::kSoftmax && extra > 0,
                                       .identity = extra == 3,
                                       .ignored = extra > 0};
          std::string what("kind ");
          what.append(std::to_string(static_cast<int>(kind))).append(" mean ").append(std::to_string(static_cast<int>(mean)));
          what.append(" extra ").append(std::to_string(extra)).append(shared ? " shared" : "");
          check(what, candidate_inputs(37, 29, 11, 6, shared, extras), options, Write::kAssign);
        }
  // One negative a row at most, and none: a mean of one and of nothing.
  for (const CandidateLossKind kind : {CandidateLossKind::kBce, CandidateLossKind::kBpr})
    for (const bool shared : {false, true})
      check("mean of one", candidate_inputs(37, 29, 11, 1, shared, {.ignored = true}),
            {.kind = kind, .mean = CandidateMean::kNegatives, .shared_negatives = shared, .remove_hits = true}, Write::kAssign);
}

}  // namespace tradewind::tests
