// The CUDA kernels of linear_cross_entropy on the executor: the list of cases that the CPU solves, in float32 with its
// tolerance, in bf16 with one of bf16; what a kernel says of a wrong target; bits that do not depend on the order of anything.
#include <boost/test/unit_test.hpp>

#include "kernels/base/error.h"
#include "kernels/cuda/linear_cross_entropy.h"
#include "tests/kernels/linear_cross_entropy_case.h"
#include "tests/support/device_place.h"
#include "tests/support/turns.h"

using namespace tradewind;
using namespace tradewind::tests;
using kernels::DType;

namespace {

constexpr float kScale = 0.25F;

std::vector<std::uint16_t> narrow(const std::vector<float>& x) {
  std::vector<std::uint16_t> out(x.size());
  for (std::size_t i = 0; i < x.size(); ++i) out[i] = bfloat16_of(x[i]);
  return out;
}

/// The op, all outputs.
Outputs run(Place& place, const Inputs& in, LinearCrossEntropyOptions options = {}, DType dtype = DType::kFloat32,
            Write write = Write::kAssign, std::int64_t chunk_bytes = 0) {
  StepState step;
  step.loss_scale[options.task] = kScale;
  options.dtype = dtype;
  const bool half = dtype == DType::kBFloat16;
  std::vector<void*> all;
  const auto put = [&](const auto& x) -> void* {
    return x.empty() ? nullptr : all.emplace_back(place.put(x.data(), x.size() * sizeof x[0]));
  };
  const auto put_values = [&](const std::vector<float>& x) { return half ? put(narrow(x)) : put(x); };
  const std::vector<float> nothing(static_cast<std::size_t>(in.N), NAN), no_dx(static_cast<std::size_t>(in.N * in.C), NAN);
  Outputs out{nothing, nothing, nothing, no_dx, random_values(in.V * in.C, 5), random_values(in.V, 6)};
  auto *loss = put(out.loss), *nll = put(out.nll), *lse = put(out.lse), *dx = put_values(no_dx), *dw = put(out.dw),
       *dbias = put(out.dbias);
  Launch launch = place.launch();
  launch.step = static_cast<StepState*>(all.emplace_back(place.put(&step, sizeof step)));
  auto *x = put_values(in.x), *w = put_values(in.w), *bias = put_values(in.bias);
  const auto* targets = static_cast<std::int32_t*>(put(in.targets));
  const auto call = [&](auto op, auto... more) {
    op(static_cast<float*>(loss), static_cast<float*>(nll), static_cast<float*>(lse), dx, static_cast<float*>(dw),
       static_cast<float*>(dbias), x, w, bias, targets, in.N, in.V, in.C, write, options, launch, more...);
  };
  if (chunk_bytes == 0)
    call(kernels::linear_cross_entropy);
  else
    call(kernels::detail::linear_cross_entropy_cuda, chunk_bytes);
  for (const auto& [host, device] :
       {std::pair{&out.loss, loss}, {&out.nll, nll}, {&out.lse, lse}, {&out.dw, dw}, {&out.dbias, dbias}})
    place.get(host->data(), device, host->size() * sizeof(float));
  if (half) {
    std::vector<std::uint16_t> halves(no_dx.size());
    place.get(halves.data(), dx, halves.size() * 2);
    for (std::size_t i = 0; i < halves.size(); ++i) out.dx[i] = float_of_bfloat16(halves[i]);
  } else {
    place.get(out.dx.data(), dx, out.dx.size() * sizeof(float));
  }
  for (void* p : all) place.drop(p);
  return out;
}

Inputs rounded(Inputs in) {
  for (std::vector<float>* x : {&in.x, &in.w, &in.bias})
    for (float& value : *x) value = rounded_to_bfloat16(value);
  return in;
}

/// Both element types.
class OnSimt {
 public:
  void operator()(const std::string& what, const Inputs& in, const LinearCrossEntropyOptions& options, Write write) {
    for (const DType dtype : {DType::kFloat32, DType::kBFloat16}) {
      const Inputs given = dtype == DType::kBFloat16 ? rounded(in) : in;
      turns_.next(what, [&](Place& place) {
        // bf16: gradients of logits are rounded to 8 bits.
        check_outputs(what, run(place, given, options, dtype, write), given, options, write, kScale,
                      dtype == DType::kBFloat16 ? 1e-2 : 3e-6);
      });
    }
  }

 private:
  Turns turns_;
};

}  // namespace

BOOST_AUTO_TEST_CASE(losses_and_gradients_match_float64) { for_each_size(OnSimt()); }

BOOST_AUTO_TEST_CASE(smoothing_and_z_loss_match_float64) { for_each_option(OnSimt()); }

BOOST_AUTO_TEST_CASE(a_wrong_target_makes_its_row_nan_and_no_other) {
  Inputs in = inputs(5, 40, 8, true, false);
  in.targets[2] = 40, in.targets[4] = -7;
  Turns().both("targets", [&](Place& place) {
    const Outputs out = run(place, in);
    for (std::size_t n = 0; n < 5; ++n) {
      BOOST_CHECK_EQUAL(std::isnan(out.loss[n]), n == 2 || n == 4);
      BOOST_CHECK_EQUAL(std::isnan(out.dx[n * 8]), n == 2 || n == 4);
    }
  });
}

BOOST_AUTO_TEST_CASE(extreme_logits_stay_finite_and_nan_shows) {
  Inputs in = inputs(4, 40, 2, false, false);
  for (float& x : in.x) x *= 1e4F;
  Turns().next("extremes", [&](Place& place) {
    const Outputs large = run(place, in);
    for (const float value : large.loss) BOOST_CHECK(std::isfinite(value));
    for (const float value : large.dx) BOOST_CHECK(std::isfinite(value));
    in.x[0] = NAN;
    const Outputs broken = run(place, in);
    BOOST_CHECK(std::isnan(broken.loss[0]) && std::isnan(broken.dx[0]));
    BOOST_CHECK(broken.loss[3] == large.loss[3]);
  });
}

BOOST_AUTO_TEST_CASE(one_logit_that_is_nan_shows) {
  Inputs in = inputs(3, 40, 2, false, false);
  in.w[7 * 2] = NAN;  // class 7, which is nobody's target
  in.targets = {1, 2, 3};
  Turns().next("nan", [&](Place& place) {
    for (const float value : run(place, in).loss) BOOST_CHECK(std::isnan(value));
  });
}

BOOST_AUTO_TEST_CASE(several_chunks_give_what_one_gives) {
  const Inputs in = inputs(100, 40, 8, true, true);  // chunks of 32 rows, the last of 4
  Turns turns;
  for (const Write write : {Write::kAssign, Write::kAccumulate})
    turns.next("chunks", [&](Place& place) {
      check_outputs("chunks", run(place, in, {}, DType::kFloat32, write, 1), in, {}, write, kScale, 3e-6);
    });
}

BOOST_AUTO_TEST_CASE(the_same_bits_whatever_the_order) {
  const Inputs in = inputs(50, 300, 16, true, true);
  std::vector<Outputs> runs;
  Turns turns;
  for (int i = 0; i < 4; ++i)
    turns.next("order", [&](Place& place) { runs.push_back(run(place, in, {.label_smoothing = 0.1F})); });
  BOOST_REQUIRE_EQUAL(runs.size(), 4U);
  for (const Outputs& o : runs)
    BOOST_CHECK(o.loss == runs[0].loss && o.dx == runs[0].dx && o.dw == runs[0].dw && o.dbias == runs[0].dbias);
}

BOOST_AUTO_TEST_CASE(no_rows_give_zero_gradients) {
  const Inputs none = inputs(0, 3, 2, true, false);
  Turns turns;
  for (const Write write : {Write::kAssign, Write::kAccumulate})
    turns.next("no rows", [&](Place& place) {
      const Outputs out = run(place, none, {}, DType::kFloat32, write);
      BOOST_CHECK(out.dw == (write == Write::kAssign ? std::vector<float>(6, 0.0F) : random_values(6, 5)));
    });
}
