// The golden trajectories of tests/golden/optim, on every executor: see golden_case.h.
#pragma once

#include <algorithm>
#include <cmath>

#include "kernels/optimizer.h"
#include "tests/kernels/golden_case.h"

namespace tradewind::tests {

/// Softmax regression of golden/optim/problem: the gradient at weight and bias, in float64.
struct GoldenProblem {
  GoldenTensors golden{golden_path("optim/problem.safetensors")};
  const std::vector<float>& x = golden.values("x");
  const std::vector<std::int64_t>& labels = golden["labels"].ints;
  static constexpr std::size_t kClasses = 6, kFeatures = 10;

  // parameters: weight [6, 10], then bias [6].
  std::vector<float> gradient(const std::vector<float>& parameters) const {
    std::vector<double> out(parameters.size());
    const float* bias = parameters.data() + kClasses * kFeatures;
    for (std::size_t n = 0; n < labels.size(); ++n) {
      double logit[kClasses], most = -1e300, sum = 0;
      for (std::size_t k = 0; k < kClasses; ++k) {
        logit[k] = bias[k];
        for (std::size_t c = 0; c < kFeatures; ++c)
          logit[k] += static_cast<double>(parameters[k * kFeatures + c]) * x[n * kFeatures + c];
        most = std::max(most, logit[k]);
      }
      for (double& l : logit) sum += l = std::exp(l - most);
      for (std::size_t k = 0; k < kClasses; ++k) {
        const double g = (logit[k] / sum - (static_cast<std::int64_t>(k) == labels[n])) / static_cast<double>(labels.size());
        for (std::size_t c = 0; c < kFeatures; ++c) out[k * kFeatures + c] += g * x[n * kFeatures + c];
        out[kClasses * kFeatures + k] += g;
      }
    }
    return {out.begin(), out.end()};
  }
};

/// 20 steps of update(parameters, two states, gradient, segments, how many, launch).
template <class Update>
void follow_golden(const std::string& name, float rate, float decay, const GoldenWay& way, const Update& update,
                   float first_state = 0) {
  const GoldenProblem problem;
  const GoldenTensors golden(golden_path("optim/" + name + ".safetensors"));
  const auto &weight = golden.values("weight"), &bias = golden.values("bias");
  std::vector<float> p(problem.golden.values("weight"));
  p.insert(p.end(), problem.golden.values("bias").begin(), problem.golden.values("bias").end());
  std::vector<float> m(p.size(), first_state), v(p.size());
  const std::vector<kernels::Segment> segments = {{0, 60, decay}, {60, 66, decay}};
  kernels::StepState state;
  state.learning_rate = rate;
  for (std::size_t t = 1; t <= 20; ++t) {
    state.step = static_cast<std::int64_t>(t);
    const auto gradient = problem.gradient(p);
    PlacedArrays at(way.place, DType::kFloat32);
    kernels::Launch launch = at.launch();
    launch.step = at.value(state);
    update(at.array(p), at.array(m), at.array(v), at.values(gradient), at.values(segments), std::int64_t{2}, launch);
    at.fetch();
    std::vector<float> expected(weight.begin() + static_cast<std::ptrdiff_t>(t) * 60,
                                weight.begin() + static_cast<std::ptrdiff_t>(t + 1) * 60);
    expected.insert(expected.end(), bias.begin() + static_cast<std::ptrdiff_t>(t) * 6,
                    bias.begin() + static_cast<std::ptrdiff_t>(t + 1) * 6);
    check_close(name + " step " + std::to_string(t), p, expected, 5e-6);
  }
}

inline void check_golden_optimizers(const GoldenWay& way) {
  using kernels::Launch;
  using kernels::Segment;
  constexpr std::int64_t kElements = 66;  // else a grid for many
  const auto adam = [](kernels::AdamOptions options) {
    options.elements = kElements;
    return [options](float* p, float* m, float* v, const float* g, const Segment* s, std::int64_t n, const Launch& l) {
      kernels::adam_update(p, m, v, g, s, n, options, l);
    };
  };
  const auto sgd = [](kernels::SgdOptions options) {
    options.elements = kElements;
    return [options](float* p, float* m, float*, const float* g, const Segment* s, std::int64_t n, const Launch& l) {
      kernels::sgd_update(p, m, g, s, n, options, l);
    };
  };
  follow_golden("adam", 0.05F, 0.0F, way, adam({}));
  follow_golden("adam_l2", 0.05F, 0.1F, way, adam({.decoupled = false}));
  follow_golden("adamw", 0.05F, 0.1F, way, adam({.beta2 = 0.95F}));
  follow_golden("sgd", 0.5F, 0.0F, way, sgd({}));
  follow_golden("sgd_momentum", 0.2F, 0.01F, way, sgd({.momentum = 0.9F}));
  follow_golden("sgd_dampening", 0.2F, 0.0F, way, sgd({.momentum = 0.9F, .dampening = 0.5F}));
  follow_golden("sgd_nesterov", 0.2F, 0.0F, way, sgd({.momentum = 0.9F, .nesterov = true}));
  const auto adagrad = [](float* p, float* sum, float*, const float* g, const Segment* s, std::int64_t n, const Launch& l) {
    kernels::adagrad_update(p, sum, g, s, n, {.epsilon = 1e-10F, .elements = kElements}, l);
  };
  follow_golden("adagrad", 0.3F, 0.0F, way, adagrad, 0.1F);
}

}  // namespace tradewind::tests
