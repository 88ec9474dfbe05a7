#include "kernels/linear.h"

#include "kernels/base/error.h"
#include "tests/kernels/linear_case.h"

using namespace tradewind;
using namespace tradewind::kernels;
using namespace tradewind::tests;

namespace {

Launch with_threads(int threads) {
  Launch launch;
  launch.threads = threads;
  return launch;
}

}  // namespace

BOOST_AUTO_TEST_CASE(stable_rows_have_the_same_bits_whatever_stands_beside_them) {
  constexpr std::int64_t kRows = 70;
  for (const auto& [N, K] : {std::pair<std::int64_t, std::int64_t>{1, 1}, {5, 3}, {65, 100}, {24, 64}, {300, 67}}) {
    const auto x = random_values(kRows * K, 1), w = random_values(N * K, 2), b = random_values(N, 3);
    const LinearOracle oracle{kRows, N, K, K, N};
    const auto want = oracle.forward(widen(x), widen(w), widen(b), std::vector<double>(kRows * N), Activation::kGeluTanh);
    const auto rows = [&](std::int64_t first, std::int64_t count, int threads) {
      Launch launch = with_threads(threads);
      launch.stable_rows = true;
      std::vector<float> y(count * N);
      linear_forward(y.data(), nullptr, x.data() + first * K, w.data(), b.data(), {count, N, K},
                     {.activation = Activation::kGeluTanh}, launch);
      return y;
    };
    const auto all = rows(0, kRows, 1);
    check_close("stable rows", all, want, kLinearTolerance);
    for (const std::int64_t count : {1, 2, 3, 4, 5, 7, 16, 33})
      for (const int threads : {1, 2, 3}) {
        const auto part = rows(11, count, threads);
        BOOST_CHECK_MESSAGE(std::equal(part.begin(), part.end(), all.begin() + 11 * N),
                            count << " rows of " << N << " x " << K << " on " << threads << " threads");
      }
  }
}

BOOST_AUTO_TEST_CASE(forward_matches_float64) {
  for (LinearCase c : linear_forward_cases())
    for (c.threads = 1; c.threads <= 3; ++c.threads) check_linear_forward(c);
}

BOOST_AUTO_TEST_CASE(forward_applies_the_activation_and_keeps_what_was_before_it) {
  for (LinearCase c : linear_activation_cases()) {
    c.threads = 2;
    check_linear_forward(c);
  }
}

BOOST_AUTO_TEST_CASE(gradients_match_float64) {
  for (LinearCase c : linear_gradient_cases())
    for (c.threads = 1; c.threads <= 3; ++c.threads) check_linear_gradients(c);
}

BOOST_AUTO_TEST_CASE(analytic_gradients_match_numeric_ones) {
  const std::int64_t M = 4, N = 3, K = 5;
  const LinearOracle oracle{M, N, K, K, N};
  auto x = widen(random_values(M * K, 1)), w = widen(random_values(N * K, 2)), b = widen(random_values(N, 3));
  const auto dy = widen(random_values(M * N, 4));
  const auto loss = [&] {
    const auto y = oracle.forward(x, w, b, std::vector<double>(M * N), Activation::kNone);
    double sum = 0;
    for (std::size_t i = 0; i < y.size(); ++i) sum += y[i] * dy[i];
    return sum;
  };
  check_close("dx", oracle.input(dy, w, std::vector<double>(M * K), false), numeric_gradient(x, loss), 1e-8);
  check_close("dw", oracle.weight(dy, x, std::vector<double>(N * K), false), numeric_gradient(w, loss), 1e-8);
  check_close("dbias", oracle.bias(dy, std::vector<double>(N), false), numeric_gradient(b, loss), 1e-8);
}

BOOST_AUTO_TEST_CASE(equal_threads_give_equal_bits) {
  const LinearShape shape{1000, 70, 130};
  const auto x = random_values(1000 * 130, 1), w = random_values(70 * 130, 2), b = random_values(70, 3),
             dy = random_values(1000 * 70, 4);
  for (const int threads : {1, 2, 3}) {
    std::vector<float> first;
    for (int run = 0; run < 5; ++run) {
      std::vector<float> all(1000 * 70 + 1000 * 130 + 70 * 130 + 70);
      float *y = all.data(), *dx = y + 1000 * 70, *dw = dx + 1000 * 130, *db = dw + 70 * 130;
      linear_forward(y, nullptr, x.data(), w.data(), b.data(), shape, {}, with_threads(threads));
      linear_backward_input(dx, dy.data(), w.data(), shape, Write::kAssign, {}, with_threads(threads));
      linear_backward_weight(dw, db, dy.data(), x.data(), shape, Write::kAssign, {}, with_threads(threads));
      if (run == 0) first = all;
      BOOST_CHECK(all == first);
    }
  }
}

BOOST_AUTO_TEST_CASE(no_rows_give_zero_weight_gradients) {
  const LinearShape shape{0, 3, 2};
  std::vector<float> dw(6, 7.0F), db(3, 7.0F);
  linear_forward(nullptr, nullptr, nullptr, nullptr, nullptr, shape, {}, {});
  linear_backward_weight(dw.data(), db.data(), nullptr, nullptr, shape, Write::kAccumulate, {}, {});
  BOOST_CHECK(dw == std::vector<float>(6, 7.0F) && db == std::vector<float>(3, 7.0F));
  linear_backward_weight(dw.data(), db.data(), nullptr, nullptr, shape, Write::kAssign, {}, {});
  BOOST_CHECK(dw == std::vector<float>(6, 0.0F) && db == std::vector<float>(3, 0.0F));
}

BOOST_AUTO_TEST_CASE(bad_arguments_throw) {
  std::vector<float> a(64), b(64), c(64);
  const Launch launch;
  BOOST_CHECK_THROW(linear_forward(a.data(), nullptr, b.data(), c.data(), nullptr, {2, 0, 3}, {}, launch), InternalError);
  BOOST_CHECK_THROW(linear_forward(a.data(), nullptr, b.data(), c.data(), nullptr, {-1, 2, 3}, {}, launch), InternalError);
  BOOST_CHECK_THROW(linear_forward(a.data(), nullptr, b.data(), c.data(), nullptr, {2, 2, 3, 2, 0}, {}, launch), InternalError);
  BOOST_CHECK_THROW(linear_forward(a.data(), nullptr, b.data(), c.data(), nullptr, {2, 2, 3, 0, 1}, {}, launch), InternalError);
  BOOST_CHECK_THROW(linear_forward(nullptr, nullptr, b.data(), c.data(), nullptr, {2, 2, 3}, {}, launch), InternalError);
  BOOST_CHECK_THROW(linear_forward(a.data(), nullptr, a.data(), c.data(), nullptr, {2, 2, 3}, {}, launch), InternalError);
  BOOST_CHECK_THROW(
      linear_forward(a.data(), nullptr, b.data(), c.data(), nullptr, {2, 2, 3}, {.dtype = DType::kBFloat16}, launch),
      DeviceError);
  BOOST_CHECK_THROW(linear_backward_input(a.data(), nullptr, c.data(), {2, 2, 3}, Write::kAssign, {}, launch), InternalError);
  BOOST_CHECK_THROW(linear_backward_weight(nullptr, nullptr, b.data(), c.data(), {2, 2, 3}, Write::kAssign, {}, launch),
                    InternalError);
  if (!kHasCuda) {
    Launch cuda;
    cuda.device.type = DeviceType::kCuda;
    BOOST_CHECK_THROW(linear_forward(a.data(), nullptr, b.data(), c.data(), nullptr, {2, 2, 3}, {}, cuda), DeviceError);
  }
}

BOOST_AUTO_TEST_CASE(small_layers_have_the_same_bits_on_any_number_of_threads) {
  const LinearShape s{.M = 500, .N = 130, .K = 70};
  const auto x = random_values(500 * 70, 1), w = random_values(130 * 70, 2), b = random_values(130, 3),
             dy = random_values(500 * 130, 4);
  std::vector<std::vector<float>> first;
  for (const int threads : {1, 2, 3, 8}) {
    Launch launch;
    launch.threads = threads;
    std::vector<std::vector<float>> out{std::vector<float>(500 * 130), std::vector<float>(500 * 130),
                                        std::vector<float>(500 * 70), std::vector<float>(130 * 70), std::vector<float>(130)};
    linear_forward(out[0].data(), out[1].data(), x.data(), w.data(), b.data(), s, {.activation = Activation::kGeluTanh},
                   launch);
    linear_backward_input(out[2].data(), dy.data(), w.data(), s, Write::kAssign, {}, launch);
    linear_backward_weight(out[3].data(), out[4].data(), dy.data(), x.data(), s, Write::kAssign, {}, launch);
    if (first.empty()) first = out;
    for (std::size_t i = 0; i < out.size(); ++i)
      BOOST_CHECK_MESSAGE(out[i] == first[i], "output " << i << ", threads " << threads);
  }
}
