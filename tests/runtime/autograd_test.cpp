// The tape: order, uses of parameters, gradients that several nodes contribute to, memory that goes back.
#include "runtime/autograd/tape.h"

#include "runtime/ops/linear.h"
#include "runtime/ops/linear_cross_entropy.h"
#include "runtime/ops/mlp.h"
#include "runtime/ops/norm.h"
#include "tests/support/differences.h"
#include "tests/support/oracle.h"

namespace tradewind::tests {
namespace {

using namespace runtime;  // NOLINT: the runtime is what is tested

Tensor tensor_of(Context& context, const Shape& shape, std::uint32_t seed) {
  const Tensor out = context.tensor(shape);
  std::ranges::copy(random_values(static_cast<std::size_t>(shape.elements()), seed), out.data<float>());
  return out;
}

struct Fixture {
  Context context{{}, 2, 1};
  ParameterStore store;
  Parameter& weight = store.add("weight", {6, 6}, Init::normal(0.5F), true);
  Parameter& bias = store.add("bias", {6}, Init::normal(0.5F), false);
  Parameter& head = store.add("head", {9, 6}, Init::normal(0.5F), true);
  Parameter& scale = store.add("scale", {6}, Init::constant(1), false);
  Tensor targets = Tensor(host_allocator(), {5}, DType::kInt32);
  Tensor input = tensor_of(context, {5, 6}, 3);

  Fixture() {
    store.allocate(context);
    for (int i = 0; i < 5; ++i) targets.data<std::int32_t>()[i] = (i * 4) % 9;
    context.step_state().loss_scale[0] = 0.2F;
  }

  /// The weight is used twice, and its first output both by the second layer and beside it.
  double loss(Tape& tape) {
    const Variable x = tape.constant(input);
    const Variable a = linear(tape, x, weight, &bias);
    const Variable b = linear(tape, a, weight, &bias);
    const Residual sum = residual_norm(tape, a, b, {.weight = &scale, .bias = nullptr, .options = {}}, {}, rows());
    const auto losses = linear_cross_entropy(tape, sum.normalised, head, nullptr, targets, {});
    double total = 0;
    for (const float l : losses.loss.span<float>()) total += l;
    return total * 0.2;
  }

  static Sequences rows() {
    Sequences out;
    out.samples = Tensor(host_allocator(), {5}, DType::kUInt64);
    out.slots = Tensor(host_allocator(), {5}, DType::kInt32);
    out.samples.zero();
    out.slots.zero();
    return out;
  }
};

}  // namespace

BOOST_AUTO_TEST_CASE(a_parameter_is_ready_once_when_its_last_use_is_done) {
  Context context({}, 1, 1);
  ParameterStore store;
  Parameter& twice = store.add("twice", {6, 6}, Init::normal(0.5F), true);
  Parameter& once = store.add("once", {6, 6}, Init::normal(0.5F), true);
  store.add("never", {6}, Init::constant(1), false);
  Parameter& head = store.add("head", {9, 6}, Init::normal(0.5F), true);
  store.allocate(context);
  store.begin_step();
  Tape tape(context, true);
  std::vector<std::string> order;
  tape.on_ready([&](Parameter& p) { order.push_back(p.name()); });
  Variable x = tape.constant(tensor_of(context, {5, 6}, 3));
  x = linear(tape, x, twice, nullptr);
  x = linear(tape, x, once, nullptr);
  x = linear(tape, x, twice, nullptr);
  const Tensor targets(host_allocator(), {5}, DType::kInt32);
  targets.zero();
  linear_cross_entropy(tape, x, head, nullptr, targets, {});
  tape.backward();
  const std::vector<std::string> want{"head", "once", "twice"};
  BOOST_CHECK_EQUAL_COLLECTIONS(order.begin(), order.end(), want.begin(), want.end());
  BOOST_CHECK(!store.find("never")->touched());
}

BOOST_AUTO_TEST_CASE(gradients_of_shared_weights_and_branches_agree_with_differences) {
  Fixture f;
  f.store.begin_step();
  {
    Tape tape(f.context, true);
    f.loss(tape);
    tape.backward();
  }
  for (Parameter* p : {&f.weight, &f.bias, &f.head, &f.scale})
    check_differences(*p, 3, 2e-3, [&] {
      Tape tape(f.context, false);
      return f.loss(tape);
    });
}

BOOST_AUTO_TEST_CASE(a_second_micro_batch_doubles_every_gradient) {
  Fixture f;
  const auto gradients = [&](int times) {
    f.store.begin_step();
    for (int i = 0; i < times; ++i) {
      Tape tape(f.context, true);
      f.loss(tape);
      tape.backward();
    }
    f.store.finish_gradients();
    const auto s = f.store.gradients().span<float>();
    return std::vector<double>(s.begin(), s.end());
  };
  const auto once = gradients(1);
  auto twice = gradients(2);
  for (auto& g : twice) g /= 2;
  check_close("gradients", twice, once, 1e-6);
}

BOOST_AUTO_TEST_CASE(backward_gives_all_memory_back) {
  Fixture f;
  f.store.begin_step();
  const auto before = f.context.allocator().bytes_in_use();
  {
    Tape tape(f.context, true);
    f.loss(tape);
    BOOST_CHECK_GT(f.context.allocator().bytes_in_use(), before);
    tape.backward();
    BOOST_CHECK_EQUAL(f.context.allocator().bytes_in_use(), before);
  }
  Tape evaluation(f.context, false);
  f.loss(evaluation);
  BOOST_CHECK_EQUAL(f.context.allocator().bytes_in_use(), before);
  BOOST_CHECK_THROW(evaluation.backward(), InternalError);
}

namespace {

// The chunked feed-forward block against the same from single layers, with more rows than one chunk holds.
/// `inner`: dropout of the hidden values.
void check_mlp(float inner) {
  constexpr std::int64_t kRows = 300, kChannels = 4, kHidden = 16384;  // 128 rows a chunk
  Context context({}, 2, 1);
  ParameterStore store;
  auto& up = store.add("up.weight", {kHidden, kChannels}, Init::normal(0.3F), true);
  auto& up_bias = store.add("up.bias", {kHidden}, Init::normal(0.3F), false);
  auto& down = store.add("down.weight", {kChannels, kHidden}, Init::normal(0.1F), true);
  store.allocate(context);
  const Tensor x = tensor_of(context, {kRows, kChannels}, 5), dy = tensor_of(context, {kRows, kChannels}, 6);
  const kernels::Dropout dropout{.p = inner, .purpose = 3};
  Sequences rows;
  rows.samples = Tensor(host_allocator(), {kRows}, DType::kUInt64);
  rows.slots = Tensor(host_allocator(), {kRows}, DType::kInt32);
  for (std::int32_t n = 0; n < kRows; ++n) {
    rows.samples.data<std::uint64_t>()[n] = static_cast<std::uint64_t>(n / 7);
    rows.slots.data<std::int32_t>()[n] = n % 7;
  }
  store.begin_step();
  Tape tape(context, true);
  const Variable in = tape.variable(x);
  const Variable y = mlp(tape, in, {&up, &up_bias, &down, nullptr}, kernels::Activation::kGeluTanh, false, dropout, rows);
  tape.contribute(y, dy);
  tape.backward();

  const auto w1 = up.value().span<float>(), b1 = up_bias.value().span<float>(), w2 = down.value().span<float>();
  std::vector<double> want_y(kRows * kChannels), want_dx(kRows * kChannels), want_dw2(w2.size()), want_dw1(w1.size()),
      want_db1(b1.size());
  const double k = std::sqrt(2 / 3.14159265358979323846);
  const auto key = kernels::philox_key(1, 3);  // of the context's seed
  const std::uint32_t threshold = kernels::dropout_threshold(inner);
  for (std::size_t n = 0; n < kRows; ++n)
    for (std::size_t h = 0; h < kHidden; ++h) {
      double pre = b1[h];
      for (std::size_t c = 0; c < kChannels; ++c) pre += static_cast<double>(x.span<float>()[n * 4 + c]) * w1[h * 4 + c];
      const double t = std::tanh(k * (pre + 0.044715 * pre * pre * pre));
      const bool dropped = kernels::dropout_number(key, n / 7, n % 7, static_cast<std::uint32_t>(h)) < threshold;
      const double kept = dropped ? 0 : kernels::dropout_scale(threshold);
      const double act = kept * 0.5 * pre * (1 + t);
      const double slope = kept * (0.5 * (1 + t) + 0.5 * pre * (1 - t * t) * k * (1 + 3 * 0.044715 * pre * pre));
      double dact = 0;
      for (std::size_t c = 0; c < kChannels; ++c) {
        const double d = dy.span<float>()[n * 4 + c];
        want_y[n * 4 + c] += act * w2[c * kHidden + h];
        dact += d * w2[c * kHidden + h];
        want_dw2[c * kHidden + h] += d * act;
      }
      want_db1[h] += dact * slope;
      for (std::size_t c = 0; c < kChannels; ++c) {
        want_dx[n * 4 + c] += dact * slope * w1[h * 4 + c];
        want_dw1[h * 4 + c] += dact * slope * x.span<float>()[n * 4 + c];
      }
    }
  check_close("y", y.value().span<float>(), want_y, 1e-5);
  check_close("dx", in.gradient().span<float>(), want_dx, 1e-5);
  check_close("dw up", up.gradient().span<float>(), want_dw1, 1e-5);
  check_close("db up", up_bias.gradient().span<float>(), want_db1, 1e-5);
  check_close("dw down", down.gradient().span<float>(), want_dw2, 1e-5);
}

}  // namespace

BOOST_AUTO_TEST_CASE(mlp_equals_its_layers) {
  check_mlp(0);
  check_mlp(0.25F);
}

}  // namespace tradewind::tests
