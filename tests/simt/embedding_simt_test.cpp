// The CUDA kernels of embedding on the executor: the cases that the CPU solves, in float32 and bfloat16, rows of every shape
// that the kernels are compiled for and longer ones; ids outside the table; bits that do not depend on the order of anything.
#include "tests/kernels/embedding_case.h"
#include "tests/support/turns.h"

namespace tradewind::tests {
namespace {

constexpr DType kTypes[] = {DType::kFloat32, DType::kBFloat16};

}  // namespace

BOOST_AUTO_TEST_CASE(forward_copies_or_adds_rows) {
  Turns turns;
  for (const auto& [n, v] : kEmbeddingShapes)
    for (const DType dtype : kTypes)
      for (const std::size_t C : kEmbeddingChannels) {
        const std::size_t N = n, V = v;
        if (V > 10000 && C > 1) continue;
        turns.next("forward", [&](Place& place) { check_forward("forward", N, V, C, {.place = &place, .dtype = dtype}); });
      }
  // One thread a row to a whole block, several rounds of a block along a row, rows that are no whole vectors.
  for (const DType dtype : kTypes)
    for (const std::size_t C : {4U, 8U, 16U, 48U, 264U, 1100U, 2056U})
      for (const std::size_t skip : {0U, 1U})
        turns.next("forward", [&](Place& place) {
          check_forward("forward", 37, 11, C, {.place = &place, .dtype = dtype, .skip = skip, .scale = 8.0F});
        });
}

BOOST_AUTO_TEST_CASE(gradients_are_the_float64_sums) {
  Turns turns;
  for (const auto& [n, v] : kEmbeddingShapes)
    for (const DType dtype : kTypes)
      for (const std::size_t C : kEmbeddingChannels) {
        const std::size_t N = n, V = v;
        if (V > 10000 && C > 1) continue;
        turns.next("backward", [&](Place& place) { check_gradients("backward", N, V, C, {.place = &place, .dtype = dtype}); });
      }
  // Groups of 4 to 32 lanes with 1 to 8 vectors each, more channels than a group takes at a time, unaligned.
  for (const DType dtype : kTypes)
    for (const std::size_t C : {4U, 8U, 24U, 40U, 72U, 136U, 264U, 520U, 1024U, 1100U, 2056U})
      turns.next("backward", [&](Place& place) {
        check_gradients("backward", 150, 4, C, {.place = &place, .dtype = dtype, .skip = C == 1100 ? 1U : 0U, .scale = 3.5F});
      });
}

// A bad id's row of y is NaN and no other; dtable is as if the id were not there.
BOOST_AUTO_TEST_CASE(ids_outside_the_table_show_and_touch_nothing) {
  constexpr std::int64_t kN = 5, kV = 3, kC = 8;
  const std::vector<std::int32_t> ids = {2, 3, 0, -1, 2}, none = {7, -1, 3, 1 << 30, -5};
  Turns turns;
  turns.both("bad ids", [&](Place& place) {
    const auto table = random_values(kV * kC, 1), dy = random_values(kN * kC, 2);
    for (const Write write : {Write::kAssign, Write::kAccumulate}) {
      std::vector<float> y(kN * kC, 1.0F), dtable(kV * kC, 1.0F), empty(kV * kC, 1.0F), values(kN * kC, 9.0F);
      std::vector<std::int32_t> rows(kN, 9);
      PlacedArrays at(&place, DType::kFloat32);
      const Launch launch = at.launch();
      const auto *on_ids = at.values(ids), *on_none = at.values(none);
      const void* on_dy = at.read(dy);
      kernels::embedding_forward(at.elements(y), at.read(table), on_ids, kN, kV, kC, write, DType::kFloat32, launch);
      kernels::embedding_backward_dense(at.array(dtable), on_dy, on_ids, kN, kV, kC, write, DType::kFloat32, launch);
      kernels::embedding_backward_dense(at.array(empty), on_dy, on_none, kN, kV, kC, write, DType::kFloat32, launch);
      BOOST_TEST(kernels::embedding_backward_sparse(at.array(rows), at.array(values), on_dy, on_ids, kN, kV, kC,
                                                    DType::kFloat32, launch) == 2);
      BOOST_TEST(kernels::embedding_backward_sparse(at.array(rows), at.array(values), on_dy, on_none, kN, kV, kC,
                                                    DType::kFloat32, launch) == 0);
      at.fetch();
      const float before = write == Write::kAccumulate ? 1.0F : 0.0F;
      BOOST_TEST(empty == std::vector<float>(kV * kC, before));
      for (std::int64_t i = 0; i < kN * kC; ++i) {
        const std::int32_t id = ids[i / kC];
        const bool bad = id < 0 || id >= kV;
        BOOST_TEST((bad ? std::isnan(y[i]) : y[i] == before + table[id * kC + i % kC]));
      }
      for (std::int64_t c = 0; c < kC; ++c) {
        BOOST_TEST(dtable[c] == before + dy[2 * kC + c]);
        BOOST_TEST(dtable[kC + c] == before);
        BOOST_TEST(dtable[2 * kC + c] == before + (dy[c] + dy[4 * kC + c]));
      }
    }
  });
}

BOOST_AUTO_TEST_CASE(no_rows_still_assign_zeros) {
  Turns turns;
  turns.next("no rows", [](Place& place) {
    std::vector<float> added(12, 5.0F), assigned(12, 5.0F);
    PlacedArrays at(&place, DType::kFloat32);
    const Launch launch = at.launch();
    kernels::embedding_backward_dense(at.array(added), nullptr, nullptr, 0, 3, 4, Write::kAccumulate, DType::kFloat32, launch);
    kernels::embedding_backward_dense(at.array(assigned), nullptr, nullptr, 0, 3, 4, Write::kAssign, DType::kFloat32, launch);
    at.fetch();
    BOOST_TEST(added == std::vector<float>(12, 5.0F));
    BOOST_TEST(assigned == std::vector<float>(12, 0.0F));
  });
}

BOOST_AUTO_TEST_CASE(bits_do_not_depend_on_the_order_of_threads_and_blocks) {
  Turns turns;
  std::vector<float> first;
  for (int turn = 0; turn < 6; ++turn)
    turns.next("order", [&](Place& place) {
      const auto now = check_gradients("order", 600, 7, 12, {.place = &place});
      if (first.empty()) first = now;
      BOOST_TEST((now == first));
    });
}

}  // namespace tradewind::tests
