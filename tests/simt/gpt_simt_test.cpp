// device = "cuda" whole, on the executor: the GPT through the runtime as it is, its gradients beside the CPU's, trainings, a
// captured step, and the golden values of GPT-2.
#include "kernels/linear.h"
#include "tests/models/gpt_fixture.h"
#include "tests/models/gpt_golden.h"
#include "tests/simt/training.h"
#include "tests/support/turns.h"

namespace tradewind::tests {
namespace {

using kernels::DType;
using runtime::Batch;
using runtime::Context;
using runtime::Tensor;

constexpr std::int64_t kVocabulary = 29;

models::GptConfig small(const std::string& position = "learned", const std::string& norm = "layer_norm",
                        const std::string& activation = "gelu_tanh") {
  models::GptConfig c;
  c.layers = 2;
  c.heads = 2;
  c.channels = 32;
  c.context_length = 12;
  c.position = position;
  c.norm = norm;
  c.activation = activation;
  c.init_deviation = 0.1;
  return c;
}

/// Two sequences of different lengths, counting.
Batch batch() {
  std::vector<std::vector<std::int32_t>> rows(2);
  std::vector<std::int32_t> targets;
  for (std::int32_t s = 0; s < 2; ++s)
    for (std::int32_t t = 0; t < 12 - 5 * s; ++t) {
      rows[static_cast<std::size_t>(s)].push_back((7 * s + 3 * t) % kVocabulary);
      targets.push_back(t % 4 == 3 ? -100 : (7 * s + 3 * t + 3) % kVocabulary);
    }
  return with_targets(models::token_rows(rows, {0, 0}), targets);
}

struct Step {
  double loss = 0;
  std::vector<std::pair<std::string, std::vector<float>>> gradients;
};

/// Loss and gradients of the first step.
Step first_step(const models::GptConfig& config, kernels::Device device, DType compute) {
  GptFixture g(config, kVocabulary, 1, 3, device, compute);
  g.model.parameters().begin_step();
  const Batch rows = batch();
  Step out{.loss = g.accumulate(rows, rows.valid), .gradients = {}};
  g.model.parameters().finish_gradients();
  for (const auto& p : g.model.parameters().parameters()) {
    const Tensor host = on_host(p->gradient());
    const auto values = host.span<float>();
    out.gradients.emplace_back(p->name(), std::vector<float>(values.begin(), values.end()));
  }
  return out;
}

void check_gradients(const models::GptConfig& config, DType compute, double tolerance, std::uint64_t seed) {
  const Step want = first_step(config, {}, DType::kFloat32);
  const Turn turn(seed);
  const Step got = first_step(config, kGpu, compute);
  BOOST_CHECK_MESSAGE(!!(std::abs(got.loss - want.loss) <= tolerance * want.loss),
                      "loss " << got.loss << ", want " << want.loss);
  for (std::size_t i = 0; i < want.gradients.size(); ++i) {
    const auto& [name, gradient] = want.gradients[i];
    check_close("gradient of " + name, got.gradients[i].second, gradient, tolerance);
  }
}

std::vector<models::GptConfig> variants() {
  std::vector<models::GptConfig> out{small(), small("rope", "rms_norm", "swiglu"), small("rope", "layer_norm", "silu"),
                                     small("learned", "rms_norm", "gelu_exact")};
  out[0].dropout = 0.2;  // the masks are the CPU's to the bit
  out[1].kv_heads = 1;
  out[1].bias = false;
  out[1].tied_head = false;
  return out;
}

BOOST_AUTO_TEST_CASE(first_gradients_equal_the_cpus_in_float32) {
  std::uint64_t seed = 0;
  for (const auto& config : variants()) check_gradients(config, DType::kFloat32, 1e-5, ++seed);
}

BOOST_AUTO_TEST_CASE(first_gradients_equal_the_cpus_in_bfloat16) {
  std::uint64_t seed = 2;
  for (const auto& config : variants()) check_gradients(config, DType::kBFloat16, 2e-2, ++seed);
}

void check_falls(const Trained& trained) {
  BOOST_REQUIRE_EQUAL(trained.losses.size(), 20U);
  BOOST_CHECK_LE(trained.losses.back(), 0.9 * trained.losses.front());
  std::string all;
  for (const double loss : trained.losses) all.append(" ").append(std::to_string(loss));
  BOOST_TEST_MESSAGE("losses" << all << ", validation " << trained.validation);
}

BOOST_AUTO_TEST_CASE(twenty_steps_of_the_trainer_follow_the_cpu_in_float32) {
  const Trained want = train({});
  const Turn turn(5);
  const Trained got = train({.device = kGpu});
  check_falls(got);
  check_close("losses", got.losses, want.losses, 1e-4);
  check_close("gradient norms", got.norms, want.norms, 1e-3);
  BOOST_CHECK(std::abs(got.validation - want.validation) <= 1e-4 * want.validation);
}

BOOST_AUTO_TEST_CASE(twenty_steps_of_the_trainer_fall_as_the_cpus_in_bfloat16) {
  const Trained want = train({});
  const Turn turn(6);
  const Trained got = train({.device = kGpu, .compute = DType::kBFloat16});
  check_falls(got);
  check_close("losses", got.losses, want.losses, 5e-2);
}

BOOST_AUTO_TEST_CASE(a_run_resumed_on_the_device_has_the_same_bits_under_any_order) {
  std::vector<Trained> all;
  for (std::uint64_t seed = 1; seed <= 3; ++seed) {
    const Turn turn(seed);
    TinyTraining t{.device = kGpu, .compute = DType::kBFloat16, .steps = 4};
    if (seed == 3) {  // in two sessions
      const TemporaryFolder folder;
      t.stop_after = 2;
      train(t, folder.path());
      t.stop_after = 0;
      all.push_back(train(t, folder.path()));
    } else {
      all.push_back(train(t));
    }
  }
  BOOST_CHECK(all[0].parameters == all[1].parameters);
  BOOST_CHECK(all[0].losses == all[1].losses);
  BOOST_CHECK(all[0].parameters == all[2].parameters);
}

/// One step at a time, of a fixed batch, without the trainer's waits.
struct Steps : GptFixture {
  runtime::Optimizer optimizer;
  Batch rows;
  static models::GptConfig config() {
    auto c = small();
    c.dropout = 0.1;
    return c;
  }
  Steps()
      : GptFixture(config(), kVocabulary, 1, 3, kGpu, DType::kBFloat16),
        optimizer({}, model.parameters(), context),
        rows(on_device(context, batch())) {}
  void publish(std::int64_t t) {
    auto& scalars = context.step_state();
    scalars.step = t;
    scalars.learning_rate = 0.1F / static_cast<float>(t);
    scalars.gradient_scale = 0.5F * static_cast<float>(t);
    scalars.loss_scale[0] = 0.01F * static_cast<float>(t);
    context.publish_step_state();
  }
  void step() {
    auto& store = model.parameters();
    store.begin_step();
    runtime::Tape tape(context, true);
    model.forward(tape, rows);
    tape.backward();
    store.finish_gradients();
    optimizer.update(context);
  }
  Captured capture(std::int64_t t) {
    publish(t);
    return {context.stream(), [&] { step(); }};
  }
  std::vector<float> values() {
    const Tensor host = on_host(model.parameters().values());
    const auto span = host.span<float>();
    return {span.begin(), span.end()};
  }
};

BOOST_AUTO_TEST_CASE(a_captured_step_has_no_value_that_changes_and_replayed_is_the_step) {
  std::vector<float> want;
  {
    const Turn turn(1);
    Steps plain;
    for (const std::int64_t t : {1, 2, 4}) {
      plain.publish(t);
      plain.step();
    }
    want = plain.values();
  }
  const Turn turn(2);
  Steps steps;
  for (const std::int64_t t : {1, 2}) {  // after the second, all that a step allocates has been allocated
    steps.publish(t);
    steps.step();
  }
  const Captured third = steps.capture(3), fourth = steps.capture(4);
#ifndef TRADEWIND_TESTS_ON_GPU
  BOOST_CHECK_EQUAL(simt::difference(third.graph(), fourth.graph()), "");
#endif
  third.replay();  // with the scalars of the fourth
  BOOST_CHECK(steps.values() == want);
}

BOOST_AUTO_TEST_CASE(golden_values_of_gpt2) {
  const Turn turn(9);
  Golden g(kGpu);
  const Batch rows = golden_batch();
  const GoldenTensors forward(golden_path("gpt2-tiny/forward.safetensors"));
  const Tensor logits = on_host(g.model.logits(g.context, on_device(g.context, rows)));
  check_close("logits", logits.span<float>(), forward["logits"].values, 1e-5);
  const GoldenTensors gradients(golden_path("gpt2-tiny/gradients.safetensors"));
  g.model.parameters().begin_step();
  const double loss = g.accumulate(rows, rows.valid), want = expected().at("loss");
  BOOST_CHECK(std::abs(loss - want) <= 1e-6 * want);
  for (const auto& p : g.model.parameters().parameters())
    check_close("gradient of " + p->name(), on_host(p->gradient()).span<float>(), golden_value(gradients, *p), 1e-4);
}

BOOST_AUTO_TEST_CASE(greedy_generation_with_a_cache_equals_hugging_face) {
  const Turn turn(10);
  Golden g(kGpu);
  const GoldenTensors file(golden_path("gpt2-tiny/generation.safetensors"));
  const auto sequences = rows_of(file["sequences"]);
  auto out = rows_of(file["prompts"]);
  const auto prompts = out;
  constexpr std::int64_t kTokens = 16;
  models::Generator generator(g.context, g.model, 3);  // one slot stays empty
  for (std::size_t s = 0; s < 2; ++s)
    generator.add(static_cast<std::int64_t>(s), {.tokens = prompts[s]}, {.tokens = kTokens, .temperature = 0});
  while (!generator.empty())
    generator.step([&](std::int64_t s, std::int32_t token) { out[static_cast<std::size_t>(s)].push_back(token); }, nullptr);
  for (std::size_t s = 0; s < 2; ++s)
    BOOST_CHECK_EQUAL_COLLECTIONS(out[s].begin(), out[s].end(), sequences[s].begin(), sequences[s].begin() + 8 + kTokens);
}

BOOST_AUTO_TEST_CASE(logits_have_the_same_bits_whatever_is_generated_beside_them) {
  const Turn turn(11);
  Golden g(kGpu, DType::kBFloat16);
  g.context.set_stable_rows(true);
  const GoldenTensors file(golden_path("gpt2-tiny/generation.safetensors"));
  const auto prompts = rows_of(file["prompts"]);
  const auto logits = [&](const std::vector<std::vector<std::int32_t>>& rows) {
    const auto count = static_cast<std::int64_t>(rows.size());
    const auto cache = g.model.make_cache(g.context, count);
    const auto batch = models::token_rows(rows, std::vector<std::int64_t>(rows.size(), 0));
    const Tensor host = on_host(g.model.next_logits(g.context, on_device(g.context, batch), *cache));
    const auto last = host.view((count - 1) * 257, {257}).span<float>();
    return std::vector<float>(last.begin(), last.end());
  };
  BOOST_CHECK(logits({prompts[1]}) == logits({prompts[0], prompts[0], prompts[1]}));
}

#ifndef TRADEWIND_TESTS_ON_GPU  // whose memory cannot be made small
BOOST_AUTO_TEST_CASE(a_training_that_does_not_fit_says_what_to_lower) {
  const simt::Machine machine({.capacity = std::size_t{256} << 10});
  BOOST_CHECK_EXCEPTION(train({.device = kGpu, .steps = 1}), DeviceError, [](const DeviceError& e) {
    BOOST_TEST_MESSAGE(e.what());
    const std::string text = e.what();
    return e.code() == ExitCode::kDevice && text.find("activations") != std::string::npos &&
           text.find("optimiser") != std::string::npos && text.find("train.micro_batch") != std::string::npos;
  });
}
#endif

}  // namespace
}  // namespace tradewind::tests
