// The optimisers' problems, their float64 oracle, and the list of cases that every executor must solve: the CPU
// (optimizer_test.cpp) and the CUDA kernels on the executor of tests/simt.
#pragma once

#include <algorithm>
#include <cmath>
#include <limits>

#include "kernels/optimizer.h"
#include "tests/support/oracle.h"
#include "tests/support/placed_arrays.h"

namespace tradewind::tests {

using kernels::AdagradOptions;
using kernels::AdamOptions;
using kernels::Launch;
using kernels::Segment;
using kernels::SgdOptions;
using kernels::StepState;

/// Segments of awkward sizes and positions, with holes between them that nobody may touch.
struct Layout {
  std::vector<Segment> segments;
  std::size_t size = 0;
  explicit Layout(const std::vector<std::int64_t>& sizes) {
    std::int64_t at = 3;
    for (const std::int64_t n : sizes) {
      segments.push_back({at, at + n, segments.size() % 2 == 0 ? 0.1F : 0.0F, segments.size() % 3 == 0 ? 1.0F : 0.5F});
      at += n + static_cast<std::int64_t>(segments.size() % 2) * 5;
    }
    size = static_cast<std::size_t>(at + 3);
  }
  std::int64_t count() const { return static_cast<std::int64_t>(segments.size()); }
  std::int64_t elements() const {
    std::int64_t sum = 0;
    for (const Segment& s : segments) sum += s.end - s.begin;
    return sum;
  }
};

inline const std::vector<std::vector<std::int64_t>> kLayouts = {
    {1}, {7}, {64}, {65}, {100}, {1, 7, 0, 64, 65, 100}, {40001}, {16385, 1, 30000, 2}};

struct OptimizerOracle {
  std::vector<double> p, m, v;
  void update(const std::vector<float>& gradient, const Layout& layout, const AdamOptions& o, const StepState& s) {
    const double b1 = o.beta1, b2 = o.beta2, c1 = 1 - std::pow(b1, s.step), c2 = 1 - std::pow(b2, s.step);
    for (const Segment& segment : layout.segments)
      for (auto i = static_cast<std::size_t>(segment.begin); i < static_cast<std::size_t>(segment.end); ++i) {
        const double rate = static_cast<double>(s.learning_rate) * segment.rate, decay = segment.weight_decay;
        double g = static_cast<double>(s.gradient_scale) * gradient[i];
        if (o.decoupled)
          p[i] -= rate * decay * p[i];
        else
          g += decay * p[i];
        m[i] = b1 * m[i] + (1 - b1) * g;
        v[i] = b2 * v[i] + (1 - b2) * g * g;
        p[i] -= rate * (m[i] / c1) / (std::sqrt(v[i] / c2) + o.epsilon);
      }
  }
  void update(const std::vector<float>& gradient, const Layout& layout, const SgdOptions& o, const StepState& s) {
    for (const Segment& segment : layout.segments)
      for (auto i = static_cast<std::size_t>(segment.begin); i < static_cast<std::size_t>(segment.end); ++i) {
        double g = static_cast<double>(s.gradient_scale) * gradient[i] + static_cast<double>(segment.weight_decay) * p[i];
        if (o.momentum != 0) {
          m[i] = s.step == 1 ? g : o.momentum * m[i] + (1.0 - o.dampening) * g;
          g = o.nesterov ? g + o.momentum * m[i] : m[i];
        }
        p[i] -= static_cast<double>(s.learning_rate) * segment.rate * g;
      }
  }
  void update(const std::vector<float>& gradient, const Layout& layout, const AdagradOptions& o, const StepState& s) {
    for (const Segment& segment : layout.segments)
      for (auto i = static_cast<std::size_t>(segment.begin); i < static_cast<std::size_t>(segment.end); ++i) {
        const double g = static_cast<double>(s.gradient_scale) * gradient[i] + static_cast<double>(segment.weight_decay) * p[i];
        m[i] += g * g;
        p[i] -= static_cast<double>(s.learning_rate) * segment.rate * g / (std::sqrt(m[i]) + o.epsilon);
      }
  }
};

/// Where and how a case runs.
struct UpdateWay {
  Place* place = nullptr;  // null: the CPU
  int threads = 1;
  bool copy = false, sized = false;  // with a bfloat16 copy; with options.elements
  std::size_t skip = 0;              // elements before each array, which then is not aligned
};

/// The arrays of a run. Adam's m and v are states first and second.
struct UpdateArrays {
  std::vector<float> p, first, second;
  std::vector<std::uint16_t> copy;
};

/// What each kernel takes of the arrays.
inline void call_update(float* p, float* first, float* second, const float* gradient, const Segment* segments,
                        std::int64_t count, const AdamOptions& options, const Launch& launch) {
  kernels::adam_update(p, first, second, gradient, segments, count, options, launch);
}
inline void call_update(float* p, float* first, float*, const float* gradient, const Segment* segments, std::int64_t count,
                        const SgdOptions& options, const Launch& launch) {
  kernels::sgd_update(p, options.momentum == 0 ? nullptr : first, gradient, segments, count, options, launch);
}
inline void call_update(float* p, float* first, float*, const float* gradient, const Segment* segments, std::int64_t count,
                        const AdagradOptions& options, const Launch& launch) {
  kernels::adagrad_update(p, first, gradient, segments, count, options, launch);
}

template <class Options>
void update_once(UpdateArrays& a, const std::vector<float>& gradient, const Layout& layout, Options options,
                 const StepState& state, const UpdateWay& way) {
  PlacedArrays at(way.place, kernels::DType::kFloat32, way.skip);
  Launch launch = at.launch(way.threads);
  launch.step = at.value(state);
  options.copy = way.copy ? at.array(a.copy) : nullptr;
  options.elements = way.sized ? layout.elements() : 0;
  PlacedArrays whole(way.place, kernels::DType::kFloat32);  // segments are structs, which are aligned
  call_update(at.array(a.p), at.array(a.first), at.array(a.second), at.values(gradient), whole.values(layout.segments),
              layout.count(), options, launch);
  at.fetch();
}

/// Runs five steps with the kernel and the oracle; returns what the kernel made of the parameter and the states, one after
/// another.
template <class Options>
std::vector<float> check_updates(const std::string& what, const Layout& layout, const Options& options, const UpdateWay& way) {
  constexpr std::uint16_t kUntouched = 0x4321;
  UpdateArrays a{random_values(layout.size, 1), std::vector<float>(layout.size, 0.0F), {}, {}};
  a.second = a.first;
  a.copy.assign(layout.size, kUntouched);
  const auto before = a.p;
  OptimizerOracle oracle{widen(a.p), widen(a.first), widen(a.second)};
  StepState state;
  for (std::uint32_t step = 1; step <= 5; ++step) {
    state.step = step;
    state.learning_rate = 0.01F * static_cast<float>(step);
    state.gradient_scale = step % 2 == 0 ? 0.3F : 1.0F;
    const auto gradient = random_values(layout.size, 10 + step);
    update_once(a, gradient, layout, options, state, way);
    oracle.update(gradient, layout, options, state);
  }
  check_close(what + " parameter", a.p, oracle.p, 2e-6);
  check_close(what + " first state", a.first, oracle.m, 2e-6);
  check_close(what + " second state", a.second, oracle.v, 2e-6);
  std::vector<bool> inside(layout.size, false);
  for (const Segment& s : layout.segments) std::fill(inside.begin() + s.begin, inside.begin() + s.end, true);
  for (std::size_t i = 0; i < layout.size; ++i) {
    const bool untouched = a.p[i] == before[i] && a.first[i] == 0 && a.second[i] == 0;
    BOOST_REQUIRE_MESSAGE(inside[i] || untouched, what << " wrote between segments, at " << i);
    const std::uint16_t copied = inside[i] && way.copy ? bfloat16_of(a.p[i]) : kUntouched;
    BOOST_REQUIRE_MESSAGE(a.copy[i] == copied, what << ": the copy at " << i << " is " << a.copy[i] << ", not " << copied);
  }
  a.p.insert(a.p.end(), a.first.begin(), a.first.end());
  a.p.insert(a.p.end(), a.second.begin(), a.second.end());
  return a.p;
}

inline AdamOptions adam_case(bool decoupled) {
  return {.beta1 = 0.9F, .beta2 = 0.95F, .epsilon = 1e-6F, .decoupled = decoupled};
}

inline constexpr AdagradOptions kAdagradCase{.epsilon = 1e-6F};

inline const std::vector<SgdOptions> kSgdCases = {
    {}, {.momentum = 0.9F}, {.momentum = 0.9F, .dampening = 0.5F}, {.momentum = 0.9F, .nesterov = true}};

/// squared_norm of x where `place` is.
inline double norm_of(const std::vector<float>& x, Place* place = nullptr, int threads = 1, std::size_t skip = 0) {
  PlacedArrays at(place, kernels::DType::kFloat32, skip), whole(place, kernels::DType::kFloat32);
  std::vector<double> sum(1, -1);
  const Launch launch = at.launch(threads);
  kernels::squared_norm(whole.array(sum), at.values(x), static_cast<std::int64_t>(x.size()), launch);
  whole.fetch();
  return sum[0];
}

inline constexpr std::size_t kNormCounts[] = {0, 1, 7, 65, 16384, 16385, 100003};

/// squared_norm of normal values, and how far it may be from the sum in higher precision.
inline void check_norm(const std::string& what, const std::vector<float>& x, double sum) {
  long double expected = 0;
  for (const float value : x) expected += static_cast<long double>(value) * value;
  BOOST_CHECK_MESSAGE(!!(std::abs(sum - static_cast<double>(expected)) <= 1e-13 * static_cast<double>(expected)),
                      what << " " << x.size() << ": " << sum);
}

/// NaN and infinity at these places make a sum that is not finite.
inline constexpr std::size_t kBadPlaces[] = {0, 31, 20000, 40000};
inline constexpr float kBadValues[] = {std::numeric_limits<float>::infinity(), -std::numeric_limits<float>::infinity(),
                                       std::numeric_limits<float>::quiet_NaN()};

}  // namespace tradewind::tests
