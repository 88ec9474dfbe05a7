#include "kernels/linear_cross_entropy.h"

#include <array>

#include "kernels/base/error.h"
#include "tests/kernels/linear_cross_entropy_case.h"
#include "tests/support/counting_scratch.h"
#include "tests/support/targets.h"

namespace tradewind::tests {
namespace {

constexpr double kTolerance = 3e-6;

Outputs run(const Inputs& in, const LinearCrossEntropyOptions& options, int threads, Write write = Write::kAssign,
            float scale = 0.25F) {
  Outputs out{std::vector<float>(in.N, NAN),        std::vector<float>(in.N, NAN), std::vector<float>(in.N, NAN),
              std::vector<float>(in.N * in.C, NAN), random_values(in.V * in.C, 5), random_values(in.V, 6)};
  StepState step;
  step.loss_scale[options.task] = scale;
  Launch launch;
  launch.step = &step;
  launch.threads = threads;
  kernels::linear_cross_entropy(out.loss.data(), out.nll.data(), out.lse.data(), out.dx.data(), out.dw.data(), out.dbias.data(),
                                in.x.data(), in.w.data(), in.bias.empty() ? nullptr : in.bias.data(), in.targets.data(), in.N,
                                in.V, in.C, write, options, launch);
  return out;
}

void check(const std::string& what, const Inputs& in, const LinearCrossEntropyOptions& options, int threads, Write write) {
  const float scale = 0.25F;
  check_outputs(what, run(in, options, threads, write, scale), in, options, write, scale, kTolerance);
}

BOOST_AUTO_TEST_CASE(losses_and_gradients_match_float64) {
  on_every_target([&](const std::string& target) {
    for_each_size([&](const std::string& what, const Inputs& in, const LinearCrossEntropyOptions& options, Write write) {
      for (const int threads : {1, 2, 3})
        check(target + " " + what + " threads " + std::to_string(threads), in, options, threads, write);
    });
  });
}

BOOST_AUTO_TEST_CASE(smoothing_and_z_loss_match_float64) {
  for_each_option([](const std::string& what, const Inputs& in, const LinearCrossEntropyOptions& options, Write write) {
    check(what, in, options, 2, write);
  });
}

// So many classes that all threads share a chunk (more than 448 K logits in 32 rows), and more rows than one chunk takes.
BOOST_AUTO_TEST_CASE(a_large_vocabulary_in_shared_chunks_matches_float64) {
  for (const int threads : {1, 2, 3})
    for (const Write write : {Write::kAssign, Write::kAccumulate})
      check("threads " + std::to_string(threads), inputs(70, 270000, 3, true, true), {}, threads, write);
}

// Rows of each thread's own, fewer parts than threads, chunks that all share, and none. The products pack for themselves.
BOOST_AUTO_TEST_CASE(the_workspace_is_what_was_said) {
  for (const auto& [N, V, C] : {std::array{100, 50, 8}, {4, 50, 8}, {1500, 1000, 16}, {70, 270000, 3}, {20, 300000, 2}})
    for (const int threads : {1, 2, 3}) {
      const Inputs in = inputs(N, V, C, true, true);
      std::vector<float> loss(in.N), dx(in.N * in.C), dw(in.V * in.C), dbias(in.V);
      StepState step;
      CountingScratch scratch;
      Launch launch;
      launch.step = &step;
      launch.threads = threads;
      launch.scratch = &scratch;
      kernels::linear_cross_entropy(loss.data(), nullptr, nullptr, dx.data(), dw.data(), dbias.data(), in.x.data(), in.w.data(),
                                    in.bias.data(), in.targets.data(), in.N, in.V, in.C, Write::kAssign, {}, launch);
      BOOST_CHECK_EQUAL(scratch.most,
                        kernels::linear_cross_entropy_workspace(in.N, in.V, in.C, kernels::DeviceType::kCpu, threads));
    }
  BOOST_CHECK_EQUAL(kernels::linear_cross_entropy_workspace(0, 9, 9, kernels::DeviceType::kCpu, 2), 0);
}

BOOST_AUTO_TEST_CASE(oracle_gradients_match_numeric_ones) {
  const Inputs in = inputs(5, 6, 4, true, true);
  const LinearCrossEntropyOptions options{.label_smoothing = 0.1F, .z_loss = 1e-2F};
  auto x = widen(in.x), w = widen(in.w), bias = widen(in.bias);
  const auto total = [&] { return Oracle(in, x, w, bias, options, 0.25).total; };
  const Oracle oracle(in, x, w, bias, options, 0.25);
  check_close("dx", oracle.dx, numeric_gradient(x, total), 1e-7);
  check_close("dw", oracle.dw, numeric_gradient(w, total), 1e-7);
  check_close("dbias", oracle.dbias, numeric_gradient(bias, total), 1e-7);
}

BOOST_AUTO_TEST_CASE(evaluation_gives_the_bits_of_training) {
  const Inputs in = inputs(300, 65, 33, true, true);
  const Outputs train = run(in, {}, 2);
  std::vector<float> loss(in.N), nll(in.N);
  Launch launch;  // without StepState
  launch.threads = 2;
  kernels::linear_cross_entropy(loss.data(), nll.data(), nullptr, nullptr, nullptr, nullptr, in.x.data(), in.w.data(),
                                in.bias.data(), in.targets.data(), in.N, in.V, in.C, Write::kAssign, {}, launch);
  BOOST_CHECK(loss == train.loss);
  BOOST_CHECK(nll == train.nll);
}

BOOST_AUTO_TEST_CASE(each_gradient_can_be_had_alone) {
  const Inputs in = inputs(300, 65, 33, true, true);
  const Outputs all = run(in, {}, 2);
  StepState step;
  step.loss_scale[0] = 0.25F;
  Launch launch;
  launch.threads = 2;
  launch.step = &step;
  for (int which = 0; which < 3; ++which) {
    Outputs one = all;
    kernels::linear_cross_entropy(one.loss.data(), nullptr, nullptr, which == 0 ? one.dx.data() : nullptr,
                                  which == 1 ? one.dw.data() : nullptr, which == 2 ? one.dbias.data() : nullptr, in.x.data(),
                                  in.w.data(), in.bias.data(), in.targets.data(), in.N, in.V, in.C, Write::kAssign, {}, launch);
    BOOST_CHECK(one.dx == all.dx && one.dw == all.dw && one.dbias == all.dbias);
  }
}

BOOST_AUTO_TEST_CASE(a_row_does_not_depend_on_the_others) {
  for (const auto& [N, V, C] : {std::array<std::int64_t, 3>{1030, 65, 33}, {70, 20000, 5}})
    for (const int threads : {1, 2}) {
      Inputs in = inputs(N, V, C, true, false);
      const Outputs before = run(in, {}, threads);
      for (std::int64_t c = 0; c < C; ++c) in.x[(N - 1) * C + c] += 1;
      in.targets[N - 1] = 1;
      const Outputs after = run(in, {}, threads);
      BOOST_CHECK(std::equal(before.loss.begin(), before.loss.end() - 1, after.loss.begin()));
      BOOST_CHECK(std::equal(before.dx.begin(), before.dx.end() - C, after.dx.begin()));
      BOOST_CHECK(before.loss.back() != after.loss.back());
    }
}

BOOST_AUTO_TEST_CASE(equal_threads_give_equal_bits) {
  for (const auto& [N, V, C] : {std::array<std::int64_t, 3>{1000, 65, 33}, {70, 20000, 5}})
    for (const int threads : {1, 2, 3}) {
      const Inputs in = inputs(N, V, C, true, true);
      const Outputs first = run(in, {}, threads);
      for (int again = 0; again < 3; ++again) {
        const Outputs next = run(in, {}, threads);
        BOOST_CHECK(first.loss == next.loss && first.dx == next.dx && first.dw == next.dw && first.dbias == next.dbias);
      }
    }
}

BOOST_AUTO_TEST_CASE(extreme_logits_stay_finite_and_nan_shows) {
  Inputs in = inputs(4, 40, 2, false, false);
  for (auto& x : in.x) x *= 1e4F;
  const Outputs large = run(in, {}, 2);
  for (const float value : large.loss) BOOST_CHECK(std::isfinite(value));
  for (const float value : large.dx) BOOST_CHECK(std::isfinite(value));
  in.x[0] = NAN;
  const Outputs broken = run(in, {}, 2);
  BOOST_CHECK(std::isnan(broken.loss[0]) && std::isnan(broken.dx[0]));
  BOOST_CHECK(broken.loss[3] == large.loss[3]);
}

BOOST_AUTO_TEST_CASE(no_rows_give_zero_gradients) {
  StepState step;
  Launch launch;
  launch.step = &step;
  std::vector<float> dw(6, 7.0F), dbias(3, 7.0F);
  kernels::linear_cross_entropy(nullptr, nullptr, nullptr, nullptr, dw.data(), dbias.data(), nullptr, nullptr, nullptr, nullptr,
                                0, 3, 2, Write::kAccumulate, {}, launch);
  BOOST_CHECK(dw == std::vector<float>(6, 7.0F) && dbias == std::vector<float>(3, 7.0F));
  kernels::linear_cross_entropy(nullptr, nullptr, nullptr, nullptr, dw.data(), dbias.data(), nullptr, nullptr, nullptr, nullptr,
                                0, 3, 2, Write::kAssign, {}, launch);
  BOOST_CHECK(dw == std::vector<float>(6, 0.0F) && dbias == std::vector<float>(3, 0.0F));
}

BOOST_AUTO_TEST_CASE(bad_arguments_throw) {
  Inputs in = inputs(4, 5, 3, false, false);
  in.targets[2] = 5;
  BOOST_CHECK_EXCEPTION(run(in, {}, 2), DataError,
                        [](const DataError& e) { return std::string(e.what()).find("row 2 is 5") != std::string::npos; });
  in.targets[2] = -1;
  BOOST_CHECK_THROW(run(in, {}, 2), DataError);
  BOOST_CHECK_NO_THROW(run(in, {.ignore_index = -1}, 2));
  in.targets[2] = 0;
  BOOST_CHECK_THROW(run(in, {.label_smoothing = 1.5F}, 2), InternalError);
  BOOST_CHECK_THROW(run(in, {.label_smoothing = NAN}, 2), InternalError);
  BOOST_CHECK_THROW(run(in, {.z_loss = -1.0F}, 2), InternalError);
  BOOST_CHECK_THROW(run(in, {.dtype = kernels::DType::kBFloat16}, 2), DeviceError);
  BOOST_CHECK_THROW(run(in, {}, 0), InternalError);
  std::vector<float> loss(4), dx(12);
  BOOST_CHECK_THROW(kernels::linear_cross_entropy(loss.data(), nullptr, nullptr, dx.data(), nullptr, nullptr, in.x.data(),
                                                  in.w.data(), nullptr, in.targets.data(), 4, 5, 3, Write::kAssign, {}, {}),
                    InternalError);
}

}  // namespace
}  // namespace tradewind::tests
