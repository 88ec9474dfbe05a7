#include "kernels/embedding.h"

#include <algorithm>

#include "kernels/base/error.h"
#include "tests/support/oracle.h"
#include "tests/support/safetensors.h"
#include "tests/support/targets.h"

namespace tradewind::tests {
namespace {

using kernels::DType;
using kernels::Launch;
using kernels::Write;

Launch on(int threads) {
  Launch launch;
  launch.threads = threads;
  return launch;
}

// Skewed: half of the ids are 0 to 3, as words and items are.
std::vector<std::int32_t> some_ids(std::size_t N, std::size_t V, std::uint32_t seed) {
  std::mt19937 engine(seed);
  std::vector<std::int32_t> out(N);
  for (auto& id : out) {
    const std::uint32_t range = engine() % 2 == 0 ? 4U : static_cast<std::uint32_t>(V);
    id = static_cast<std::int32_t>(engine() % range % V);
  }
  return out;
}

struct Shape {
  std::size_t N, V;
};
constexpr Shape kShapes[] = {{1, 1}, {7, 3}, {100, 5}, {5, 100}, {600, 7}, {300, 200}, {50, 5000}, {400, 3000000}};

}  // namespace

BOOST_AUTO_TEST_CASE(forward_copies_or_adds_rows) {
  on_every_target([](const std::string& target) {
    for (const auto& [N, V] : kShapes)
      for (const std::size_t C : {1, 7, 64, 65, 100})
        for (const int threads : {1, 2, 3}) {
          if (V > 10000 && C > 1) continue;
          const auto table = random_values(V * C, 1), base = random_values(N * C, 2);
          const auto ids = some_ids(N, V, 3);
          std::vector<float> y(N * C), sum = base, expected(N * C), added = base;
          for (std::size_t i = 0; i < N * C; ++i) {
            expected[i] = table[static_cast<std::size_t>(ids[i / C]) * C + i % C];
            added[i] += expected[i];
          }
          const auto n = static_cast<std::int64_t>(N), v = static_cast<std::int64_t>(V), c = static_cast<std::int64_t>(C);
          kernels::embedding_forward(y.data(), table.data(), ids.data(), n, v, c, Write::kAssign, DType::kFloat32, on(threads));
          kernels::embedding_forward(sum.data(), table.data(), ids.data(), n, v, c, Write::kAccumulate, DType::kFloat32,
                                     on(threads));
          BOOST_REQUIRE_MESSAGE(y == expected, target);
          BOOST_REQUIRE_MESSAGE(sum == added, target);
        }
  });
}

BOOST_AUTO_TEST_CASE(gradients_are_the_float64_sums) {
  on_every_target([](const std::string& target) {
    for (const auto& [N, V] : kShapes)
      for (const std::size_t C : {1, 7, 64, 65, 100})
        for (const int threads : {1, 2, 3}) {
          if (V > 10000 && C > 1) continue;
          const std::string what = target + " N " + std::to_string(N) + " V " + std::to_string(V) + " C " + std::to_string(C);
          const auto dy = random_values(N * C, 1), base = random_values(V * C, 2);
          const auto ids = some_ids(N, V, 3);
          std::vector<double> expected(V * C), added = widen(base);
          for (std::size_t i = 0; i < N * C; ++i) {
            expected[static_cast<std::size_t>(ids[i / C]) * C + i % C] += dy[i];
            added[static_cast<std::size_t>(ids[i / C]) * C + i % C] += dy[i];
          }
          const auto n = static_cast<std::int64_t>(N), v = static_cast<std::int64_t>(V), c = static_cast<std::int64_t>(C);
          std::vector<float> dtable(V * C, NAN), sum = base, again(V * C);
          kernels::embedding_backward_dense(dtable.data(), dy.data(), ids.data(), n, v, c, Write::kAssign, DType::kFloat32,
                                            on(threads));
          kernels::embedding_backward_dense(sum.data(), dy.data(), ids.data(), n, v, c, Write::kAccumulate, DType::kFloat32,
                                            on(threads));
          check_close(what + " dense", dtable, expected, 2e-6);
          check_close(what + " dense, accumulated", sum, added, 2e-6);
          // Ascending n in whatever way the work is shared: the bits do not depend on the threads.
          kernels::embedding_backward_dense(again.data(), dy.data(), ids.data(), n, v, c, Write::kAssign, DType::kFloat32,
                                            on(1));
          BOOST_TEST(again == dtable);

          std::vector<std::int32_t> rows(N), distinct = ids;
          std::sort(distinct.begin(), distinct.end());
          distinct.erase(std::unique(distinct.begin(), distinct.end()), distinct.end());
          std::vector<float> values(N * C);
          const auto count = static_cast<std::size_t>(kernels::embedding_backward_sparse(
              rows.data(), values.data(), dy.data(), ids.data(), n, v, c, DType::kFloat32, on(threads)));
          rows.resize(count);
          values.resize(count * C);
          BOOST_TEST(rows == distinct);
          std::vector<float> of_dense;
          for (const std::int32_t id : distinct)
            of_dense.insert(of_dense.end(), dtable.begin() + id * c, dtable.begin() + (id + 1) * c);
          BOOST_TEST(values == of_dense, boost::test_tools::per_element());
        }
  });
}

BOOST_AUTO_TEST_CASE(a_gradient_larger_than_the_cache_is_written_whole) {
  const std::int64_t N = 3000, V = 90000, C = 64;
  kernels::Scratch& heap = kernels::heap_scratch();  // aligned: takes the streaming path
  auto* dtable = static_cast<float*>(heap.acquire(static_cast<std::size_t>(V * C) * 4));
  std::fill(dtable, dtable + V * C, NAN);
  const auto dy = random_values(static_cast<std::size_t>(N * C), 1);
  const auto ids = some_ids(static_cast<std::size_t>(N), static_cast<std::size_t>(V), 2);
  kernels::embedding_backward_dense(dtable, dy.data(), ids.data(), N, V, C, Write::kAssign, DType::kFloat32, on(2));
  std::vector<double> expected(static_cast<std::size_t>(V * C));
  for (std::int64_t i = 0; i < N * C; ++i)
    expected[static_cast<std::size_t>(ids[static_cast<std::size_t>(i / C)] * C + i % C)] += dy[static_cast<std::size_t>(i)];
  check_close("dtable", std::vector<float>(dtable, dtable + V * C), expected, 2e-6);
  heap.release(dtable, static_cast<std::size_t>(V * C) * 4);
}

BOOST_AUTO_TEST_CASE(no_rows_still_assign_zeros) {
  std::vector<float> dtable(12, 5.0F);
  kernels::embedding_backward_dense(dtable.data(), nullptr, nullptr, 0, 3, 4, Write::kAccumulate, DType::kFloat32, on(1));
  BOOST_TEST(dtable == std::vector<float>(12, 5.0F));
  kernels::embedding_backward_dense(dtable.data(), nullptr, nullptr, 0, 3, 4, Write::kAssign, DType::kFloat32, on(1));
  BOOST_TEST(dtable == std::vector<float>(12, 0.0F));
}

BOOST_AUTO_TEST_CASE(golden_embedding) {
  const GoldenTensors golden(golden_path("layers/embedding.safetensors"));
  const auto ids = golden["ids"].ids();
  std::vector<float> y(8 * 6), dtable(11 * 6);
  kernels::embedding_forward(y.data(), golden.values("weight").data(), ids.data(), 8, 11, 6, Write::kAssign, DType::kFloat32,
                             on(1));
  kernels::embedding_backward_dense(dtable.data(), golden.values("grad_out").data(), ids.data(), 8, 11, 6, Write::kAssign,
                                    DType::kFloat32, on(1));
  check_close("out", y, golden.values("out"), 0);
  check_close("grad_weight", dtable, golden.values("grad_weight"), 1e-6);
}

BOOST_AUTO_TEST_CASE(bad_ids_name_their_row) {
  std::vector<float> table(12), y(12);
  for (const std::int32_t bad : {3, -1}) {
    const std::vector<std::int32_t> ids = {0, 2, bad};
    const auto names_row = [&](const DataError& e) {
      const std::string message = e.what();
      return message.find("row 2") != std::string::npos && message.find(std::to_string(bad)) != std::string::npos;
    };
    BOOST_CHECK_EXCEPTION(
        kernels::embedding_forward(y.data(), table.data(), ids.data(), 3, 3, 4, Write::kAssign, DType::kFloat32, on(1)),
        DataError, names_row);
    BOOST_CHECK_EXCEPTION(
        kernels::embedding_backward_dense(table.data(), y.data(), ids.data(), 3, 3, 4, Write::kAssign, DType::kFloat32, on(1)),
        DataError, names_row);
  }
}

BOOST_AUTO_TEST_CASE(bad_arguments_throw) {
  std::vector<float> table(12), y(12);
  const std::vector<std::int32_t> ids = {0, 1, 2};
  const auto forward = [&](void* to, std::int64_t V, std::int64_t C, DType dtype) {
    kernels::embedding_forward(to, table.data(), ids.data(), 3, V, C, Write::kAssign, dtype, on(1));
  };
  BOOST_CHECK_THROW(forward(nullptr, 3, 4, DType::kFloat32), InternalError);
  BOOST_CHECK_THROW(forward(y.data(), 0, 4, DType::kFloat32), InternalError);
  BOOST_CHECK_THROW(forward(y.data(), 3, 0, DType::kFloat32), InternalError);
  BOOST_CHECK_THROW(forward(y.data(), 3, 4, DType::kBFloat16), DeviceError);
}

}  // namespace tradewind::tests
