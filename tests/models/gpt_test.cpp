// What must hold for every variant of the GPT: causality, packing, caching, gradients.
#include "tests/models/gpt_fixture.h"

namespace tradewind::tests {
namespace {

using runtime::Batch;

models::GptConfig small(const std::string& position = "learned", const std::string& norm = "layer_norm",
                        const std::string& activation = "gelu_tanh") {
  models::GptConfig c;
  c.layers = 2;
  c.heads = 4;
  c.channels = 32;
  c.context_length = 24;
  c.position = position;
  c.norm = norm;
  c.activation = activation;
  c.init_deviation = 0.2;
  return c;
}

std::vector<models::GptConfig> variants() {
  std::vector<models::GptConfig> out{small(), small("rope", "rms_norm", "swiglu"), small("rope", "layer_norm", "relu"),
                                     small("learned", "rms_norm", "silu"), small("learned", "layer_norm", "gelu_exact")};
  out[1].kv_heads = 2;
  out[1].bias = false;
  out[2].kv_heads = 1;
  out[3].tied_head = false;
  out[4].bias = false;
  return out;
}

std::vector<std::int32_t> tokens(std::size_t count, std::uint32_t seed) {
  std::mt19937 engine(seed);
  std::vector<std::int32_t> out(count);
  for (auto& t : out) t = static_cast<std::int32_t>(engine() % 50);
  return out;
}

Batch rows(const std::vector<std::vector<std::int32_t>>& sequences) {
  std::vector<std::int32_t> targets;
  std::vector<std::vector<std::int32_t>> inputs;
  for (const auto& s : sequences) {
    inputs.emplace_back(s.begin(), s.end() - 1);
    targets.insert(targets.end(), s.begin() + 1, s.end());
  }
  return with_targets(models::token_rows(inputs, std::vector<std::int64_t>(sequences.size(), 0)), targets);
}

BOOST_AUTO_TEST_CASE(a_token_changes_no_loss_before_it_by_a_bit) {
  for (const auto& config : variants()) {
    GptFixture g(config, 50);
    auto sequence = tokens(25, 1);
    const auto before = g.losses(rows({sequence, tokens(9, 2)}));
    sequence[23] = (sequence[23] + 1) % 50;  // the last input, and the target of the row before it
    const auto after = g.losses(rows({sequence, tokens(9, 2)}));
    BOOST_REQUIRE_EQUAL(before.size(), 32U);
    for (std::size_t i = 0; i < 22; ++i) BOOST_CHECK_EQUAL(before[i], after[i]);
    BOOST_CHECK(before[22] != after[22]);
    BOOST_CHECK(before[23] != after[23]);
    for (std::size_t i = 24; i < 32; ++i) BOOST_CHECK_EQUAL(before[i], after[i]);  // the other sequence
  }
}

BOOST_AUTO_TEST_CASE(documents_packed_together_have_the_losses_of_each_alone) {
  for (const auto& config : variants()) {
    GptFixture g(config, 50);
    const auto a = tokens(20, 3), b = tokens(8, 4), c = tokens(25, 5);
    const auto together = g.losses(rows({a, b, c}));
    std::vector<float> alone;
    for (const auto& s : {a, b, c}) {
      const auto losses = g.losses(rows({s}));
      alone.insert(alone.end(), losses.begin(), losses.end());
    }
    check_close("losses", together, alone, 1e-6);
  }
}

BOOST_AUTO_TEST_CASE(a_cache_gives_the_logits_of_the_whole_sequence) {
  for (const auto& config : variants()) {
    GptFixture g(config, 50);
    const auto sequence = tokens(24, 6);
    const auto whole = g.model.logits(g.context, models::token_rows({sequence}, {0}));
    auto cache = g.model.make_cache(g.context, 1);
    std::vector<std::int32_t> fresh(sequence.begin(), sequence.begin() + 5);
    for (std::int64_t read = 5; read <= 24; ++read) {
      const auto next = g.model.next_logits(g.context, models::token_rows({fresh}, {cache->length(0)}), *cache);
      check_close("logits at " + std::to_string(read), next.span<float>(), whole.view((read - 1) * 50, {50}).span<float>(),
                  1e-5);
      if (read < 24) fresh = {sequence[static_cast<std::size_t>(read)]};
    }
  }
}

// Central differences of the model's own float32 loss along random directions: coarse, but of the whole model at once, with
// dropout (whose masks are a function of the seed). Each op has its exact check in tests/kernels.
BOOST_AUTO_TEST_CASE(gradients_agree_with_differences_of_the_loss) {
  for (auto config : variants()) {
    if (config.activation == "relu") continue;  // its kinks make differences as large as these meaningless
    for (const double p : {0.0, 0.25}) {
      config.dropout = p;
      GptFixture g(config, 50);
      const Batch batch = rows({tokens(25, 7), tokens(12, 8)});
      auto& store = g.model.parameters();
      store.begin_step();
      g.accumulate(batch, batch.valid);
      const auto loss_of = [&] {  // a recording tape, for dropout; its gradients go nowhere
        runtime::Tape tape(g.context, true);
        runtime::LossCounter losses(g.context);
        losses.add(g.model.forward(tape, batch));
        return losses.sums().loss / static_cast<double>(batch.valid);
      };
      std::vector<std::vector<float>> gradients;
      for (const auto& q : store.parameters()) {
        const auto s = q->gradient().span<float>();
        gradients.emplace_back(s.begin(), s.end());
      }
      for (std::size_t i = 0; i < store.parameters().size(); ++i) {
        const auto& q = *store.parameters()[i];
        const auto direction = random_values(static_cast<std::size_t>(q.shape().elements()), 9);
        const auto value = q.value().span<float>();
        const std::vector<float> keep(value.begin(), value.end());
        double want = 0, norm = 0;
        for (std::size_t k = 0; k < keep.size(); ++k) {
          want += static_cast<double>(gradients[i][k]) * direction[k];
          norm += static_cast<double>(direction[k]) * direction[k];
        }
        const double h = 1e-2 / std::sqrt(norm);
        const auto at = [&](double step) {
          for (std::size_t k = 0; k < keep.size(); ++k) value[k] = static_cast<float>(keep[k] + step * direction[k]);
          return loss_of();
        };
        const double difference = (at(h) - at(-h)) / (2 * h);
        std::ranges::copy(keep, value.begin());
        const double scale = std::max({std::abs(want), std::abs(difference), 0.02 * std::sqrt(norm)});
        BOOST_CHECK_MESSAGE(!!(std::abs(difference - want) <= 0.03 * scale),
                            q.name() << " (dropout " << p << "): difference " << difference << ", gradient " << want);
      }
    }
  }
}

BOOST_AUTO_TEST_CASE(dropout_does_not_depend_on_what_is_packed_beside) {
  auto config = small();
  config.dropout = 0.5;
  GptFixture g(config, 50);
  const auto a = tokens(25, 10), b = tokens(25, 11);
  const auto losses = [&](const Batch& batch) {
    runtime::Tape tape(g.context, true);
    const auto loss = g.model.row_losses(tape, batch).loss;
    const auto s = loss.span<float>();
    return std::vector<float>(s.begin(), s.end());
  };
  const Batch both = rows({a, b});
  Batch second = rows({b});
  std::ranges::fill(second["samples"].span<std::uint64_t>(), 1U);  // as in the batch of two
  const auto together = losses(both), alone = losses(second);
  check_close("losses of the second sample", std::vector<float>(together.begin() + 24, together.end()), alone, 1e-6);
  std::ranges::fill(second["samples"].span<std::uint64_t>(), 2U);  // another sample has other masks
  BOOST_CHECK(!(relative_error(losses(second), alone) < 1e-2));
}

BOOST_AUTO_TEST_CASE(generation_goes_on_past_the_context_and_repeats_by_seed) {
  GptFixture g(small(), 50);
  const std::vector<std::vector<std::int32_t>> prompts{tokens(5, 12), tokens(40, 13)};
  const auto run = [&](const std::vector<std::vector<std::int32_t>>& from) {
    std::vector<std::vector<std::int32_t>> out(from.size());
    std::vector<models::Prompt> keyed;
    for (const auto& ids : from) keyed.push_back({ids, models::draw_key(ids, 0)});
    models::generate(g.context, g.model, keyed, {.tokens = 60, .top_k = 20, .top_p = 0.9F},
                     [&](std::int64_t s, std::int32_t t) { out[static_cast<std::size_t>(s)].push_back(t); });
    return out;
  };
  const auto first = run(prompts), second = run(prompts), alone = run({prompts[0]});
  BOOST_CHECK_EQUAL(first[0].size(), 60U);
  BOOST_CHECK_EQUAL(first[1].size(), 60U);
  BOOST_CHECK(first == second);
  BOOST_CHECK(first[0] == alone[0]);
  g.context.step_state().seed = 2;
  BOOST_CHECK(run(prompts) != first);
}

/// Every prompt's tokens, `slots` at once, given in the order of `order`.
std::vector<std::vector<std::int32_t>> generated(GptFixture& g, const std::vector<std::vector<std::int32_t>>& prompts,
                                                 const std::vector<std::size_t>& order, std::int64_t slots) {
  std::vector<std::vector<std::int32_t>> out(prompts.size());
  models::Generator generator(g.context, g.model, slots);
  std::size_t next = 0, ended = 0;
  while (ended < prompts.size()) {
    while (next < order.size() && !generator.full()) {
      const std::size_t i = order[next++];
      generator.add(static_cast<std::int64_t>(i), {prompts[i], models::draw_key(prompts[i], 0)},
                    {.tokens = 20 + static_cast<std::int64_t>(i), .top_p = 0.95F, .stop = 7});
    }
    generator.step([&](std::int64_t id, std::int32_t token) { out[static_cast<std::size_t>(id)].push_back(token); },
                   [&](std::int64_t, models::Generator::End) { ++ended; });
  }
  return out;
}

// The draws differ where a logit differs by one bit near a boundary, so this needs many; that the logits are equal to the bit
// is checked below.
BOOST_AUTO_TEST_CASE(a_prompt_has_the_same_text_whatever_is_generated_beside_it) {
  for (const auto& config : variants()) {
    GptFixture g(config, 50);
    std::vector<std::vector<std::int32_t>> prompts;
    for (std::size_t i = 0; i < 9; ++i) prompts.push_back(tokens(1 + 4 * i, static_cast<std::uint32_t>(20 + i)));
    prompts.push_back(prompts[3]);
    const auto alone = generated(g, prompts, {0, 1, 2, 3, 4, 5, 6, 7, 8, 9}, 1);
    BOOST_CHECK(alone[0].size() <= 20 && std::ranges::find(alone[0], 7) == alone[0].end());
    BOOST_CHECK(std::ranges::equal(std::span(alone[9]).first(std::min(alone[3].size(), alone[9].size())),
                                   std::span(alone[3]).first(std::min(alone[3].size(), alone[9].size()))));
    BOOST_CHECK(generated(g, prompts, {0, 1, 2, 3, 4, 5, 6, 7, 8, 9}, 4) == alone);
    BOOST_CHECK(generated(g, prompts, {9, 3, 1, 8, 0, 2, 7, 5, 6, 4}, 7) == alone);
  }
}

BOOST_AUTO_TEST_CASE(stable_rows_give_a_sequence_the_same_logits_in_any_company) {
  for (const auto& config : variants()) {
    GptFixture g(config, 50);
    g.context.set_stable_rows(true);
    const auto sequence = tokens(9, 31), other = tokens(21, 32);
    auto one = g.model.make_cache(g.context, 1), three = g.model.make_cache(g.context, 3);
    const auto alone = g.model.next_logits(g.context, models::token_rows({sequence}, {0}), *one);
    const auto beside = g.model.next_logits(g.context, models::token_rows({other, {}, sequence}, {0, 0, 0}), *three);
    const auto want = alone.span<float>(), got = beside.view(100, {50}).span<float>();
    BOOST_CHECK_EQUAL_COLLECTIONS(got.begin(), got.end(), want.begin(), want.end());
    const auto next = g.model.next_logits(g.context, models::token_rows({{5}}, {9}), *one);
    const auto next_beside = g.model.next_logits(g.context, models::token_rows({{}, other, {5}}, {21, 0, 9}), *three);
    const auto w = next.span<float>(), n = next_beside.view(100, {50}).span<float>();
    BOOST_CHECK_EQUAL_COLLECTIONS(n.begin(), n.end(), w.begin(), w.end());
  }
}

BOOST_AUTO_TEST_CASE(sizes_that_do_not_fit_are_config_errors) {
  auto config = small();
  config.heads = 5;
  BOOST_CHECK_THROW(config.check(), ConfigError);
  config = small();
  config.kv_heads = 3;
  BOOST_CHECK_THROW(config.check(), ConfigError);
  config = small();
  config.vocabulary = 10;
  BOOST_CHECK_THROW(config.build({.vocabulary = 50}), ConfigError);
}

}  // namespace
}  // namespace tradewind::tests
