// Our GPT against Hugging Face's GPT-2 with the same weights (tests/golden/gpt2-tiny): logits, loss, every gradient, ten
// AdamW steps, and greedy generation with a cache. The golden values were computed in float64 and rounded once.
#include "tests/models/gpt_golden.h"
#include "runtime/optim/optimizer.h"

namespace tradewind::tests {
namespace {

using runtime::Batch;

BOOST_AUTO_TEST_CASE(logits_and_loss_equal_hugging_face) {
  Golden g;
  const Batch batch = golden_batch();
  const GoldenTensors forward(golden_path("gpt2-tiny/forward.safetensors"));
  check_close("logits", g.model.logits(g.context, batch).span<float>(), forward["logits"].values, 1e-5);
  double loss = 0;
  for (const float row : g.losses(batch)) loss += row;
  const double want = expected().at("loss");
  BOOST_CHECK(std::abs(loss / static_cast<double>(batch.valid) - want) <= 1e-6 * want);
}

BOOST_AUTO_TEST_CASE(every_gradient_equals_hugging_face) {
  Golden g;
  const Batch batch = golden_batch();
  const GoldenTensors gradients(golden_path("gpt2-tiny/gradients.safetensors"));
  g.model.parameters().begin_step();
  g.accumulate(batch, batch.valid);
  for (const auto& p : g.model.parameters().parameters())
    check_close("gradient of " + p->name(), p->gradient().span<float>(), golden_value(gradients, *p), 1e-4);
}

BOOST_AUTO_TEST_CASE(gradients_do_not_depend_on_micro_batches) {
  Golden whole, parts;
  const Batch batch = golden_batch();
  whole.model.parameters().begin_step();
  whole.accumulate(batch, batch.valid);
  const GoldenTensors file(golden_path("gpt2-tiny/batch.safetensors"));
  const auto ids = rows_of(file["input_ids"]);
  const auto targets = batch["targets"].span<std::int32_t>();
  parts.model.parameters().begin_step();
  for (std::size_t b = 0; b < 2; ++b) {
    const auto begin = targets.begin() + static_cast<std::ptrdiff_t>(32 * b);
    parts.accumulate(with_targets(models::token_rows({ids[b]}, {0}), {begin, begin + 32}), batch.valid);
  }
  for (const auto& p : whole.model.parameters().parameters()) {
    const auto gradient = p->gradient().span<float>();
    check_close("gradient of " + p->name(), parts.model.parameters().find(p->name())->gradient().span<float>(), gradient, 1e-5);
  }
}

BOOST_AUTO_TEST_CASE(ten_adamw_steps_follow_pytorch) {
  Golden g;
  const Batch batch = golden_batch();
  const auto training = expected().at("training");
  auto& store = g.model.parameters();
  runtime::Optimizer optimizer({.beta1 = 0.9, .beta2 = 0.95, .epsilon = 1e-8, .weight_decay = 0.1}, store, g.context);
  for (std::size_t step = 0; step < training.at("loss").size(); ++step) {
    store.begin_step();
    const double loss = g.accumulate(batch, batch.valid), want = training.at("loss")[step];
    double squares = 0;
    kernels::squared_norm(&squares, store.gradients().data<float>(), store.gradients().elements(), g.context.launch());
    const double norm = std::sqrt(squares), want_norm = training.at("gradient_norm")[step];
    BOOST_CHECK_MESSAGE(!!(std::abs(loss - want) <= 1e-4 * want), "loss of step " << step << ": " << loss << ", want " << want);
    BOOST_CHECK_MESSAGE(!!(std::abs(norm - want_norm) <= 1e-4 * want_norm), "norm of step " << step << ": " << norm);
    auto& scalars = g.context.step_state();
    scalars.step = static_cast<std::int64_t>(step) + 1;
    scalars.learning_rate = training.at("learning_rate")[step];
    scalars.gradient_scale = static_cast<float>(std::min(1.0, 1.0 / (norm + 1e-6)));
    optimizer.update(g.context);
  }
  const GoldenTensors trained(golden_path("gpt2-tiny/trained.safetensors"));
  for (const auto& p : store.parameters()) {
    // A key's bias has a gradient of exactly 0; its rounding noise becomes Adam steps, and no loss notices.
    if (p->name().ends_with("qkv.bias")) continue;
    check_close("trained " + p->name(), p->value().span<float>(), golden_value(trained, *p), 1e-3);
  }
}

BOOST_AUTO_TEST_CASE(greedy_generation_with_a_cache_equals_hugging_face) {
  Golden g;
  const GoldenTensors file(golden_path("gpt2-tiny/generation.safetensors"));
  const auto sequences = rows_of(file["sequences"]);
  std::vector<std::vector<std::int32_t>> out = rows_of(file["prompts"]);
  const auto prompts = out;
  models::generate(g.context, g.model, {{prompts[0]}, {prompts[1]}}, {.tokens = 16, .temperature = 0},
                   [&](std::int64_t s, std::int32_t token) { out[static_cast<std::size_t>(s)].push_back(token); });
  for (std::size_t s = 0; s < sequences.size(); ++s)
    BOOST_CHECK_EQUAL_COLLECTIONS(out[s].begin(), out[s].end(), sequences[s].begin(), sequences[s].end());
  // The logits of every step, both sequences at once.
  auto cache = g.model.make_cache(g.context, 2);
  auto fresh = prompts;
  std::vector<std::int64_t> first(2, 0);
  const auto& golden = file["logits"].values;
  for (std::size_t t = 0; t < 16; ++t) {
    const auto logits = g.model.next_logits(g.context, models::token_rows(fresh, first), *cache);
    for (std::size_t s = 0; s < 2; ++s) {
      const auto begin = golden.begin() + static_cast<std::ptrdiff_t>((s * 16 + t) * 257);
      check_close("logits of token " + std::to_string(t), logits.view(static_cast<std::int64_t>(s) * 257, {257}).span<float>(),
                  std::vector<float>(begin, begin + 257), 1e-5);
      first[s] = cache->length(static_cast<std::int64_t>(s));
      fresh[s] = {sequences[s][8 + t]};
    }
  }
}

}  // namespace
}  // namespace tradewind::tests
