#include "kernels/candidate_loss.h"

#include <array>

#include "kernels/base/error.h"
#include "tests/kernels/candidate_loss_case.h"
#include "tests/support/counting_scratch.h"
#include "tests/support/safetensors.h"
#include "tests/support/targets.h"
#include "tests/support/throws.h"

namespace tradewind::tests {
namespace {

constexpr double kTolerance = 3e-6;

BOOST_AUTO_TEST_CASE(losses_and_gradients_match_float64) {
  on_every_target([](const std::string& target) {
    for_each_candidate_size(
        [&](const std::string& what, const CandidateInputs& in, const CandidateLossOptions& options, Write write) {
          for (const int threads : {1, 2, 3})
            for (const bool sparse : {false, true})
              check_candidates(std::string(target).append(" ").append(what).append(sparse ? " sparse" : ""), in, options, write,
                               {.threads = threads, .sparse = sparse}, kTolerance);
        });
  });
}

BOOST_AUTO_TEST_CASE(every_loss_and_option_matches_float64) {
  on_every_target([](const std::string& target) {
    for_each_candidate_option(
        [&](const std::string& what, const CandidateInputs& in, const CandidateLossOptions& options, Write write) {
          check_candidates(std::string(target).append(" ").append(what), in, options, write, {}, kTolerance);
        });
  });
}

// More negatives than one block of a sum, more rows than one chunk of shared logits, more terms a row than a bag's chunk. The
// sums of so many terms round more.
BOOST_AUTO_TEST_CASE(many_negatives_match_float64) {
  for (const bool shared : {false, true})
    for (const CandidateLossKind kind : {CandidateLossKind::kGbce, CandidateLossKind::kBpr, CandidateLossKind::kSoftmax})
      for (const bool sparse : {false, true})
        check_candidates(shared ? "shared" : "own", candidate_inputs(250, 6000, 5, 2500, shared, {.ignored = true}),
                         {.kind = kind, .mean = CandidateMean::kNegatives, .shared_negatives = shared}, Write::kAssign,
                         {.sparse = sparse}, 1e-5);
  check_candidates("hot rows", candidate_inputs(900, 3, 5, 2, false), {}, Write::kAssign, {.sparse = true}, kTolerance);
}

BOOST_AUTO_TEST_CASE(oracle_gradients_match_numeric_ones) {
  for_each_candidate_option([](const std::string& what, const CandidateInputs&, const CandidateLossOptions& options, Write) {
    const bool softmax = options.kind == CandidateLossKind::kSoftmax;
    const CandidateInputs in =
        candidate_inputs(5, 8, 3, 4, options.shared_negatives,
                         {.bias = options.scale == 1, .log_q = softmax, .identity = true, .ignored = true});
    auto x = widen(in.x), w = widen(in.w), bias = widen(in.bias);
    const auto total = [&] { return CandidateOracle(in, x, w, bias, options, 0.25).total; };
    const CandidateOracle oracle(in, x, w, bias, options, 0.25);
    check_close(what + " dx", oracle.dx, numeric_gradient(x, total), 1e-7);
    check_close(what + " dw", oracle.dw, numeric_gradient(w, total), 1e-7);
    if (!bias.empty()) check_close(what + " dbias", oracle.dbias, numeric_gradient(bias, total), 1e-7);
  });
}

BOOST_AUTO_TEST_CASE(evaluation_gives_the_bits_of_training) {
  for (const bool shared : {false, true})
    for (const CandidateLossKind kind : {CandidateLossKind::kBce, CandidateLossKind::kBpr, CandidateLossKind::kSoftmax}) {
      const CandidateInputs in = candidate_inputs(50, 65, 33, 7, shared, {.ignored = true});
      const CandidateLossOptions options{.kind = kind, .shared_negatives = shared};
      CandidateWay evaluation;
      evaluation.call = [](float* loss, void*, float*, float*, const kernels::CandidateBatch& b, Write write,
                           const CandidateLossOptions& o, kernels::Launch launch) {
        launch.step = nullptr;
        kernels::candidate_loss(loss, nullptr, nullptr, nullptr, b, write, o, launch);
      };
      BOOST_CHECK(run_candidates(in, options, Write::kAssign, evaluation).loss ==
                  run_candidates(in, options, Write::kAssign).loss);
    }
}

// Few terms for many rows of a table, so that they are sorted, and many for few, which are not.
BOOST_AUTO_TEST_CASE(the_workspace_is_no_more_than_was_said) {
  for (const auto& [N, V, C, n] : {std::array<std::int64_t, 4>{300, 5000, 16, 700}, {1500, 40, 8, 1500}, {40, 9000, 64, 3}})
    for (const bool shared : {false, true})
      for (const bool sparse : {false, true})
        for (const int threads : {1, 3}) {
          const CandidateInputs in = candidate_inputs(N, V, C, n, shared, {.bias = true});
          CountingScratch scratch;
          const CandidateLossOptions options{.shared_negatives = shared};
          CandidateWay way{.threads = threads};
          way.call = [&](float* loss, void* dx, float* dw, float* dbias, const kernels::CandidateBatch& b, Write write,
                         const CandidateLossOptions& o, kernels::Launch launch) {
            launch.scratch = &scratch;
            const std::int64_t most = std::min(kernels::candidate_count(b, o), b.V);
            std::vector<std::int32_t> rows(static_cast<std::size_t>(most));
            std::vector<float> values(static_cast<std::size_t>(most * b.C));
            if (sparse)
              kernels::candidate_loss_sparse(loss, dx, rows.data(), values.data(), dbias, b, write, o, launch);
            else
              kernels::candidate_loss(loss, dx, dw, dbias, b, write, o, launch);
          };
          run_candidates(in, options, Write::kAssign, way);
          const std::int64_t said =
              kernels::candidate_loss_workspace({.N = N, .V = V, .C = C, .n = n}, options, kernels::DeviceType::kCpu, threads);
          BOOST_CHECK_MESSAGE(scratch.most <= said, N << " rows, " << n << " negatives: " << scratch.most << " of " << said);
          const bool sorted = !sparse && kernels::candidate_count({.N = N, .n = n}, options) < 4 * V;
          BOOST_CHECK_MESSAGE(!sorted || scratch.most > 0.6 * static_cast<double>(said),
                              N << " rows, " << n << " negatives: " << scratch.most << " of " << said);
        }
}

BOOST_AUTO_TEST_CASE(each_gradient_can_be_had_alone) {
  for (const bool shared : {false, true}) {
    const CandidateInputs in = candidate_inputs(50, 65, 33, 7, shared, {.bias = true, .ignored = true});
    const CandidateLossOptions options{.shared_negatives = shared};
    const CandidateOutputs all = run_candidates(in, options, Write::kAssign);
    for (int which = 0; which < 3; ++which) {
      CandidateWay way;
      way.call = [&](float* loss, void* dx, float* dw, float* dbias, auto... arguments) {
        kernels::candidate_loss(loss, which == 0 ? dx : nullptr, which == 1 ? dw : nullptr, which == 2 ? dbias : nullptr,
                                arguments...);
      };
      const CandidateOutputs one = run_candidates(in, options, Write::kAssign, way);
      BOOST_CHECK(which != 0 || one.dx == all.dx);
      BOOST_CHECK(which == 1 ? one.dw == all.dw : one.dw == random_values(in.V * in.C, 5));
      BOOST_CHECK(which == 2 ? one.dbias == all.dbias : one.dbias == random_values(in.V, 6));
    }
  }
}

BOOST_AUTO_TEST_CASE(equal_threads_give_equal_bits) {
  for (const bool shared : {false, true})
    for (const std::int64_t V : {30, 3000})
      for (const int threads : {1, 2, 3}) {
        const CandidateInputs in = candidate_inputs(300, V, 33, 5, shared, {.ignored = true});
        const auto run = [&] { return run_candidates(in, {.shared_negatives = shared}, Write::kAssign, {.threads = threads}); };
        const CandidateOutputs first = run();
        for (int again = 0; again < 3; ++again) {
          const CandidateOutputs next = run();
          BOOST_CHECK(first.loss == next.loss && first.dx == next.dx && first.dw == next.dw && first.dbias == next.dbias);
        }
      }
}

BOOST_AUTO_TEST_CASE(a_row_does_not_depend_on_the_others) {
  CandidateInputs in = candidate_inputs(100, 65, 33, 5, false);
  const CandidateOutputs before = run_candidates(in, {}, Write::kAssign);
  in.x[99 * in.C] += 1, in.negatives[99 * 5] = 3;
  const CandidateOutputs after = run_candidates(in, {}, Write::kAssign);
  BOOST_CHECK(std::equal(before.loss.begin(), before.loss.end() - 1, after.loss.begin()));
  BOOST_CHECK(std::equal(before.dx.begin(), before.dx.end() - in.C, after.dx.begin()));
  BOOST_CHECK(before.loss.back() != after.loss.back());
}

BOOST_AUTO_TEST_CASE(extreme_logits_stay_finite_and_nan_shows) {
  for (const CandidateLossKind kind : {CandidateLossKind::kBce, CandidateLossKind::kBpr, CandidateLossKind::kSoftmax})
    for (const bool shared : {false, true}) {
      CandidateInputs in = candidate_inputs(4, 40, 2, 6, shared);
      for (auto& x : in.x) x *= 1e4F;
      const CandidateLossOptions options{.kind = kind, .shared_negatives = shared};
      const CandidateOutputs large = run_candidates(in, options, Write::kAssign);
      for (const float value : large.loss) BOOST_CHECK(std::isfinite(value));
      for (const float value : large.dx) BOOST_CHECK(std::isfinite(value));
      in.x[0] = NAN;
      const CandidateOutputs broken = run_candidates(in, options, Write::kAssign);
      BOOST_CHECK(std::isnan(broken.loss[0]) && std::isnan(broken.dx[0]));
      BOOST_CHECK(broken.loss[3] == large.loss[3]);
    }
}

// PROTOCOLS of gSASRec: 256 of 3416 items and t = 0.75 have beta 0.3062.
BOOST_AUTO_TEST_CASE(gbce_beta_is_the_papers) {
  BOOST_CHECK_SMALL(kernels::gbce_beta(256, 3416, 0.75) - 0.3062, 5e-5);
  BOOST_CHECK_SMALL(kernels::gbce_beta(256, 3416, 0) - 1, 1e-12);
  BOOST_CHECK_SMALL(kernels::gbce_beta(256, 3416, 1) - 256.0 / 3415, 1e-12);
  // -log of the transformed positive, as the authors compute it in float64 from z.
  const double beta = kernels::gbce_beta(1, 10, 0.5), z = 1.25;
  const double adjusted = std::pow(1 / (1 + std::exp(-z)), -beta), transformed = std::log(1 / (adjusted - 1));
  const CandidateInputs in{.N = 1,
                           .V = 10,
                           .C = 1,
                           .n = 1,
                           .x = {1},
                           .w = {1.25F, 0, 0, 0, 0, 0, 0, 0, 0, 0},
                           .bias = {},
                           .log_q = {},
                           .identity = {},
                           .targets = {0},
                           .negatives = {1}};
  const CandidateOutputs got = run_candidates(
      in, {.kind = CandidateLossKind::kGbce, .mean = CandidateMean::kCandidates, .calibration = 0.5F}, Write::kAssign);
  BOOST_CHECK_SMALL(got.loss[0] - (std::log1p(std::exp(-transformed)) + std::log(2.0)) / 2, 1e-6);
}

/// A problem whose logits are given: x is 1, w the logits.
CandidateInputs of_logits(const std::vector<float>& logits, std::int64_t N, std::int64_t n) {
  CandidateInputs in{.N = N,
                     .V = static_cast<std::int64_t>(logits.size()),
                     .C = 1,
                     .n = n,
                     .x = std::vector<float>(N, 1.0F),
                     .w = logits,
                     .bias = {},
                     .log_q = {},
                     .identity = {},
                     .targets = {},
                     .negatives = {}};
  return in;
}

double mean_of(const std::vector<float>& loss) {
  double sum = 0;
  for (const float value : loss) sum += value;
  return sum / static_cast<double>(loss.size());
}

// The mean over logits with labels between 0 and 1: those of 1 are the positives of rows, those of 0 the negatives of the first
// row. A label between, y, is y rows of it as a positive and 1 - y rows that have it as both, less as many of it as a positive.
BOOST_AUTO_TEST_CASE(golden_binary_cross_entropy) {
  const GoldenTensors golden(golden_path("layers/bce_with_logits.safetensors"));
  const auto &logits = golden.values("logits"), &labels = golden.values("targets");
  double out = 0;
  std::vector<double> gradient(logits.size());
  const auto add = [&](double weight, const std::vector<std::int32_t>& positives, const std::vector<std::int32_t>& negatives) {
    CandidateInputs in =
        of_logits(logits, static_cast<std::int64_t>(positives.size()), static_cast<std::int64_t>(negatives.size()));
    in.targets = positives, in.negatives = negatives;
    in.negatives.resize(positives.size() * negatives.size(), -100);
    weight /= static_cast<double>(logits.size());
    const float scale = golden.values("grad_out")[0];
    const CandidateOutputs got = run_candidates(in, {}, Write::kAssign, {.loss_scale = scale});
    out += weight * mean_of(got.loss) * static_cast<double>(in.N);
    for (std::size_t i = 0; i < gradient.size(); ++i) gradient[i] += weight * got.dw[i];
  };
  std::vector<std::int32_t> ones, zeros;
  for (std::size_t i = 0; i < logits.size(); ++i) {
    const auto id = static_cast<std::int32_t>(i);
    if (labels[i] == 1) {
      ones.push_back(id);
    } else if (labels[i] == 0) {
      zeros.push_back(id);
    } else {
      add(2 * labels[i] - 1, {id}, {-100});
      add(1 - labels[i], {id}, {id});
    }
  }
  add(1, ones, zeros);
  check_close("out", std::vector<double>{out}, golden.values("out"), 1e-6);
  check_close("grad_logits", gradient, golden.values("grad_logits"), 1e-6);
}

BOOST_AUTO_TEST_CASE(golden_bpr) {
  const GoldenTensors golden(golden_path("layers/bpr.safetensors"));
  auto logits = golden.values("positive");
  const auto& negative = golden.values("negative");
  const auto N = static_cast<std::int64_t>(negative.size());
  logits.insert(logits.end(), negative.begin(), negative.end());
  CandidateInputs in = of_logits(logits, N, 1);
  for (std::int64_t i = 0; i < N; ++i) {
    in.targets.push_back(static_cast<std::int32_t>(i));
    in.negatives.push_back(static_cast<std::int32_t>(N + i));
  }
  const CandidateOutputs got =
      run_candidates(in, {.kind = CandidateLossKind::kBpr}, Write::kAssign,
                     {.loss_scale = static_cast<float>(golden.values("grad_out")[0] / static_cast<double>(N))});
  check_close("out", std::vector<double>{mean_of(got.loss)}, golden.values("out"), 1e-6);
  auto gradient = golden.values("grad_positive");
  gradient.insert(gradient.end(), golden.values("grad_negative").begin(), golden.values("grad_negative").end());
  check_close("gradients", got.dw, gradient, 1e-6);
}

BOOST_AUTO_TEST_CASE(golden_sampled_softmax) {
  const GoldenTensors golden(golden_path("layers/sampled_softmax.safetensors"));
  CandidateInputs in{.N = 5,
                     .V = 20,
                     .C = 8,
                     .n = 7,
                     .x = golden.values("hidden"),
                     .w = golden.values("weight"),
                     .bias = golden.values("bias"),
                     .log_q = golden.values("log_q"),
                     .identity = {},
                     .targets = golden["targets"].ids(),
                     .negatives = golden["negatives"].ids()};
  for (const bool shared : {true, false}) {
    if (!shared)
      for (int i = 1; i < 5; ++i) in.negatives.insert(in.negatives.end(), in.negatives.begin(), in.negatives.begin() + 7);
    const CandidateOutputs got =
        run_candidates(in, {.kind = CandidateLossKind::kSoftmax, .shared_negatives = shared, .remove_hits = true},
                       Write::kAssign, {.loss_scale = golden.values("grad_out")[0] / 5});
    check_close("out", std::vector<double>{mean_of(got.loss)}, golden.values("out"), 1e-6);
    check_close("grad_hidden", got.dx, golden.values("grad_hidden"), 2e-6);
    check_close("grad_weight", got.dw, golden.values("grad_weight"), 2e-6);
    check_close("grad_bias", got.dbias, golden.values("grad_bias"), 2e-6);
  }
}

BOOST_AUTO_TEST_CASE(bad_arguments_throw) {
  const CandidateInputs good = candidate_inputs(4, 5, 3, 2, false);
  const auto run = [](const CandidateInputs& in, const CandidateLossOptions& options, const CandidateWay& way = {}) {
    run_candidates(in, options, Write::kAssign, way);
  };
  CandidateInputs in = good;
  in.targets[2] = 5;
  check_throws<DataError>([&] { run(in, {}); }, {"target of row 2 is 5", "5 rows", "vocabulary"});
  in = good;
  in.negatives[2 * 2 + 1] = -1;
  check_throws<DataError>([&] { run(in, {}); }, {"negative 1 of row 2 is -1"});
  BOOST_CHECK_NO_THROW(run(in, {.ignore_index = -1}));
  CandidateInputs shared = candidate_inputs(4, 5, 3, 2, true);
  shared.negatives[1] = 7;
  check_throws<DataError>([&] { run(shared, {.shared_negatives = true}); }, {"negative 1 is 7"});
  check_throws<ConfigError>([&] { run(good, {.kind = CandidateLossKind::kGbce, .items = 2}); }, {"2 of 2", "lower"});
  BOOST_CHECK_THROW(run(good, {.calibration = NAN}), InternalError);
  BOOST_CHECK_THROW(run(good, {.scale = NAN}), InternalError);
  BOOST_CHECK_THROW(run(good, {.kind = CandidateLossKind::kBpr, .mean = CandidateMean::kCandidates}), InternalError);
  BOOST_CHECK_THROW(run(candidate_inputs(4, 5, 3, 2, false, {.log_q = true}), {}), InternalError);
  BOOST_CHECK_THROW(run(candidate_inputs(4, 5, 3, 2, false, {.bias = true}), {.scale = 2}), InternalError);
  BOOST_CHECK_THROW(run(good, {}, {.threads = 0}), InternalError);
  BOOST_CHECK_THROW(run(good, {}, {.dtype = DType::kBFloat16}), DeviceError);
}

}  // namespace
}  // namespace tradewind::tests
