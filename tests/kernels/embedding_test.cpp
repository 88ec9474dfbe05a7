#include "kernels/base/error.h"
#include "tests/kernels/embedding_case.h"
#include "tests/support/targets.h"

namespace tradewind::tests {
namespace {

Launch on(int threads) {
  Launch launch;
  launch.threads = threads;
  return launch;
}

}  // namespace

BOOST_AUTO_TEST_CASE(forward_copies_or_adds_rows) {
  on_every_target([](const std::string& target) {
    for (const auto& [N, V] : kEmbeddingShapes)
      for (const std::size_t C : kEmbeddingChannels)
        for (const int threads : {1, 2, 3})
          if (V <= 10000 || C == 1) check_forward(target, N, V, C, {.threads = threads, .scale = threads == 2 ? 8.0F : 1.0F});
  });
}

// Ascending n in whatever way the work is shared: the bits do not depend on the threads.
BOOST_AUTO_TEST_CASE(gradients_are_the_float64_sums) {
  on_every_target([](const std::string& target) {
    for (const auto& [N, V] : kEmbeddingShapes)
      for (const std::size_t C : kEmbeddingChannels) {
        if (V > 10000 && C > 1) continue;
        for (const float scale : {1.0F, 3.5F}) {
          const auto one = check_gradients(target, N, V, C, {.scale = scale});
          for (const int threads : {2, 3})
            BOOST_TEST((check_gradients(target, N, V, C, {.threads = threads, .scale = scale}) == one));
        }
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
