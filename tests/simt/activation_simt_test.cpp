// The CUDA kernels of the activations and SwiGLU on the executor: what the CPU must get right too, in float32 with its
// tolerance, in bfloat16 with one of bfloat16; from places that are no multiple of 16 bytes; several blocks, the last of them
// cut short.
#include "kernels/base/error.h"
#include "tests/kernels/activation_case.h"
#include "tests/support/throws.h"
#include "tests/support/turns.h"

namespace tradewind::tests {
namespace {

void on_executor(void (*check)(const ActivationCase&)) {
  Turns turns;
  for (const Activation activation : kActivations)
    for (const DType dtype : {DType::kFloat32, DType::kBFloat16})
      for (const std::size_t count : {1, 7, 64, 65, 100, 4099})
        for (const std::size_t skipped : {0, 1}) {
          ActivationCase c{.activation = activation, .count = count, .skipped = skipped, .dtype = dtype};
          turns.next(describe(c), [&](Place& place) {
            c.place = &place;
            check(c);
          });
        }
}

}  // namespace

BOOST_AUTO_TEST_CASE(forward_matches_float64) { on_executor(check_activation_forward); }

BOOST_AUTO_TEST_CASE(backward_is_the_numeric_gradient_and_gives_back_the_value) { on_executor(check_activation_backward); }

BOOST_AUTO_TEST_CASE(infinities_and_nan) {
  Turns().next("infinities", [](Place& place) { check_infinities(&place); });
}

BOOST_AUTO_TEST_CASE(swiglu_matches_float64) {
  Turns turns;
  for (const DType dtype : {DType::kFloat32, DType::kBFloat16})
    for (const std::size_t N : {1, 7, 40})
      for (const std::size_t C : {1, 7, 64, 65, 100, 128, 600})
        turns.next("swiglu", [&](Place& place) { check_swiglu(N, C, 1, dtype, &place); });
}

BOOST_AUTO_TEST_CASE(nothing_to_do_and_other_dtypes) {
  Turns().next("nothing", [](Place& place) {
    const Launch launch = place.launch();
    kernels::activation_forward(nullptr, nullptr, 0, Activation::kRelu, DType::kFloat32, launch);
    kernels::activation_backward(nullptr, nullptr, nullptr, nullptr, 0, Activation::kRelu, Write::kAssign, DType::kFloat32,
                                 launch);
    kernels::swiglu_forward(nullptr, nullptr, 0, 3, DType::kFloat32, launch);
    kernels::swiglu_backward(nullptr, nullptr, nullptr, 3, 0, Write::kAssign, DType::kFloat32, launch);
    PlacedArrays at(&place, DType::kFloat32);
    std::vector<float> x(4);
    void* p = at.elements(x);
    check_throws<DeviceError>([&] { kernels::activation_forward(p, p, 4, Activation::kRelu, DType::kFloat64, launch); },
                              {"activation_forward", "bfloat16 and float32", "float64"});
  });
}

}  // namespace tradewind::tests
