// The CUDA kernel of dropout on the executor: masks and values to the bit, as on the CPU, in both element types.
#include "kernels/base/error.h"
#include "tests/kernels/dropout_case.h"
#include "tests/support/throws.h"
#include "tests/support/turns.h"

namespace tradewind::tests {

// Columns for 8, 16 and 32 threads a row, whole packets and not, and several pieces across.
BOOST_AUTO_TEST_CASE(dropout_follows_the_mask_of_the_definition) {
  Turns turns;
  for (const DType dtype : {DType::kFloat32, DType::kBFloat16})
    for (const std::size_t N : {1, 7, 40})
      for (const std::size_t C : {1, 7, 64, 65, 100, 128, 384, 600})
        for (const float p : {0.0F, 0.1F, 0.75F}) {
          DropoutCase c{.N = N, .C = C, .p = p, .dtype = dtype};
          turns.next(describe(c), [&](Place& place) {
            c.place = &place;
            check_dropout(c);
          });
        }
}

// The seed is that of the replayed step.
BOOST_AUTO_TEST_CASE(a_captured_mask_follows_the_seed_of_its_step) {
  Turns().next("captured", [](Place& place) {
    DropoutKeys rows(3);
    const std::vector<float> ones(3 * 70, 1.0F);
    std::vector<float> y(ones.size());
    PlacedArrays at(&place, DType::kFloat32);
    const RowKeys keys{at.values(rows.sample), at.values(rows.position)};
    Launch launch = at.launch();
    auto* state = const_cast<kernels::StepState*>(at.value(rows.step));
    launch.step = state;
    void* to = at.elements(y);
    const void* from = at.read(ones);
    const auto replay = place.capture([&] {
      kernels::dropout_apply(to, from, 3, 70, {0.5F, 4}, keys, Write::kAssign, DType::kFloat32, launch);
    });
    for (const std::uint64_t seed : {77, 78}) {
      rows.step.seed = seed;
      place.overwrite(state, &rows.step, sizeof rows.step);
      replay();
      at.fetch();
      std::vector<float> expected(y.size());
      kernels::dropout_apply(expected.data(), ones.data(), 3, 70, {0.5F, 4}, rows.keys(), Write::kAssign, DType::kFloat32,
                             rows.launch(1));
      BOOST_TEST(y == expected);
    }
  });
}

BOOST_AUTO_TEST_CASE(nothing_to_do_and_other_dtypes) {
  Turns().next("nothing", [](Place& place) {
    kernels::dropout_apply(nullptr, nullptr, 0, 5, {}, {}, Write::kAssign, DType::kFloat32, place.launch());
    PlacedArrays at(&place, DType::kFloat32);
    std::vector<float> x(4), y(4);
    void *from = at.elements(x), *to = at.elements(y);
    check_throws<DeviceError>(
        [&] { kernels::dropout_apply(to, from, 1, 4, {}, {}, Write::kAssign, DType::kFloat64, place.launch()); },
        {"dropout_apply", "bfloat16 and float32", "float64"});
  });
}

}  // namespace tradewind::tests
