// A parameter's gradient against central differences of a loss in float32.
#pragma once

#include <boost/test/unit_test.hpp>
#include <cmath>
#include <functional>
#include <vector>

#include "runtime/parallel/parameter_store.h"

namespace tradewind::tests {

/// Fails where the gradient of every `stride`-th element and the difference of loss(), which reads the parameter, are more than
/// `absolute` and 1 % apart.
inline void check_differences(runtime::Parameter& p, std::size_t stride, double absolute, const std::function<double()>& loss) {
  const auto g = p.gradient().span<float>();
  const std::vector<float> gradient(g.begin(), g.end());
  const auto value = p.value().span<float>();
  for (std::size_t i = 0; i < value.size(); i += stride) {
    const float keep = value[i];
    const auto at = [&](float v) {
      value[i] = v;
      return loss();
    };
    const double difference = (at(keep + 1e-2F) - at(keep - 1e-2F)) / 2e-2;
    value[i] = keep;
    BOOST_CHECK_MESSAGE(!!(std::abs(difference - gradient[i]) <= absolute + 0.01 * std::abs(difference)),
                        p.name() << "[" << i << "]: difference " << difference << ", gradient " << gradient[i]);
  }
}

}  // namespace tradewind::tests
