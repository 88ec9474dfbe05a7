// x = dropout(sqrt(C) item + position); a layer: u, v, q, k = split(silu(norm(x) W)), x += dropout(u * norm(attention(q, k,
// v))) O + b, with norms without weights; attention by kernels/hstu_attention.h with N the model's context. Behind the last
// layer a norm; a score is the product with an item's vector in the same table. The loss is taken at every position.
//
// As the authors' code for MovieLens (meta-recsys/generative-recommenders) but for these: the final norm stands where theirs
// scales queries and items to length 1; a query's time is that of its own row, where theirs takes the next row's, which at the
// last row is the target's (model.request_time does that); O's bias starts at 0.
#include "models/recommend/hstu.h"

#include <cmath>

#include "runtime/nn/transformer.h"
#include "runtime/ops/dropout.h"

namespace tradewind::models {

using namespace runtime;  // NOLINT: a model is written in the runtime's terms

void HstuConfig::describe(Fields& f) {
  f.field("layers", layers, "HSTU layers.", {.min = 1});
  f.field("heads", heads, "Attention heads.", {.min = 1});
  f.field("channels", channels, "Width of an item's vector, of the residual stream, and of all heads' values.", {.min = 1});
  f.field("attention_channels", attention_channels, "Width of all heads' queries and keys; 0: channels.", {.min = 0});
  f.field("context", context_length, "Items of a history that a prediction can look back on, the newest.", {.min = 1});
  f.field("dropout", dropout, "Of embeddings and of each layer's output, while training.",
          {.min = 0, .max = 1, .below_max = true});
  f.field(
      "times", times,
      "Attention learns what it matters how long before a query an event was, from the seconds between the query's own event "
      "and the earlier one: nothing later than a history is read. Needs data.time_key.");
  f.field(
      "request_time", request_time,
      "With times: the query's time is when what comes next is asked for. In training and evaluation that is the time of the "
      "event that follows, which the authors' code reads too: it is the target's own time, so true only where the application "
      "knows it when it asks. When serving it is the newest event of the data.");
  f.field("scale_items", scale_items, "Items enter the network times the square root of channels.");
  loss.describe(f);
  f.field("norm_epsilon", norm_epsilon, "Added to the variance.", {.min = 0, .above_min = true});
  f.field("init_deviation", init_deviation,
          "Standard deviation of the initial weights of items, of W and of the biases of attention.", {.min = 0});
}

void HstuConfig::check() const {
  for (const auto& [key, width] : {std::pair{"channels", channels}, {"attention_channels", attention_channels}})
    if (width % heads != 0)
      throw ConfigError("model." + std::string(key) + " = " + std::to_string(width) +
                        " is not a multiple of model.heads = " + std::to_string(heads));
  if (request_time && !times)
    throw ConfigError("model.request_time = true says which times are read, and model.times = false that none are. Set both");
}

std::unique_ptr<Task> HstuConfig::build(const ModelInputs& inputs) const {
  check();
  return std::make_unique<Hstu>(*this, inputs.vocabulary);
}

HstuBlock HstuBlock::make(ParameterStore& store, const std::string& name, const HstuConfig& config) {
  const std::int64_t C = config.channels, attention = config.attention_channels > 0 ? config.attention_channels : C;
  const auto normal = Init::normal(static_cast<float>(config.init_deviation));
  HstuBlock block;
  block.heads = {.count = config.heads, .query = attention / config.heads, .value = C / config.heads};
  block.norm = {.kind = kernels::NormKind::kLayerNorm, .epsilon = static_cast<float>(config.norm_epsilon)};
  block.dropout = dropout_site(config.dropout, name + ".out");
  block.uvqk.weight = &store.add(name + ".uvqk.weight", {block.heads.width(), C}, normal, true);
  block.out.weight = &store.add(name + ".out.weight", {C, block.heads.out()}, Init::xavier_uniform(C, block.heads.out()), true);
  block.out.bias = &store.add(name + ".out.bias", {C}, Init::constant(0), false);
  block.position_bias = &store.add(name + ".position_bias", {config.context_length}, normal, false);
  if (config.times) block.time_bias = &store.add(name + ".time_bias", {kTimeBuckets}, normal, false);
  return block;
}

Variable HstuBlock::operator()(Tape& tape, const Variable& x, const Sequences& rows, const Tensor& query_times,
                               const Tensor& key_times) const {
  const float scale = 1.0F / static_cast<float>(position_bias->shape().elements());
  const Variable mixed = hstu_attention(
      tape, uvqk(tape, x), heads,
      {.position = position_bias, .time = time_bias, .query_times = query_times, .key_times = key_times}, rows, scale, norm);
  return out(tape, runtime::dropout(tape, mixed, tape.recording() ? dropout : kernels::Dropout{}, rows));
}

Hstu::Hstu(const HstuConfig& config, std::int64_t items) : config_(config), items_(items) {
  const std::int64_t C = config.channels, T = config.context_length;
  table_ = &store_.add("item_embedding.weight", {items, C}, Init::normal(static_cast<float>(config.init_deviation)), true);
  positions_ = &store_.add("position_embedding.weight", {T, C}, Init::xavier_normal(T, C), true);
  embedding_dropout_ = dropout_site(config.dropout, "embedding");
  for (std::int64_t i = 0; i < config.layers; ++i) {
    store_.begin_block();
    blocks_.push_back(HstuBlock::make(store_, "blocks." + std::to_string(i), config));
  }
  store_.begin_block();
  norm_ = NormLayer::make(store_, "norm", C, blocks_.front().norm, true);
}

Variable Hstu::hidden(Tape& tape, const Batch& batch) {
  const auto rows = Sequences::of(batch);
  const Tensor key_times = config_.times ? batch["times"] : Tensor();
  const Tensor query_times = config_.request_time ? batch["request_times"] : key_times;
  const float scale = config_.scale_items ? std::sqrt(static_cast<float>(config_.channels)) : 1.0F;
  Variable x = embedding_sum(tape, *table_, batch["ids"], *positions_, rows.positions, scale);
  x = dropout(tape, x, tape.recording() ? embedding_dropout_ : kernels::Dropout{}, rows);
  const NormParameters plain{.weight = nullptr, .bias = nullptr, .options = blocks_.front().norm};
  Variable y = norm(tape, x, plain);
  for (std::size_t i = 0; i < blocks_.size(); ++i) {
    const bool last = i + 1 == blocks_.size();
    const Residual after =
        residual_norm(tape, x, blocks_[i](tape, y, rows, query_times, key_times), last ? norm_.parameters : plain, {}, rows);
    x = after.sum;
    y = after.normalised;
  }
  return y;
}

RowLosses Hstu::forward(Tape& tape, const Batch& batch) {
  return config_.loss(tape, hidden(tape, batch), *table_, nullptr, batch);
}

Tensor Hstu::queries(Context& context, const Batch& batch) {
  Tape tape(context, false);
  return last_rows(context, hidden(tape, batch).value(), batch);
}

CostEstimate Hstu::cost() const {
  const HstuHeads& heads = blocks_.front().heads;
  const std::int64_t T = config_.context_length;
  const auto C = static_cast<double>(config_.channels);
  const auto layers = static_cast<double>(config_.layers), width = static_cast<double>(heads.width()),
             out = static_cast<double>(heads.out());
  const auto pair = static_cast<double>(heads.count * (heads.query + heads.value));  // a row sees (n + 1) / 2 of its n
  const double kept = layers * (2 * width + 4 * out + 3 * C) + 3 * C;                // floats of a row
  CostEstimate cost{.flops_per_row = layers * (2 * C * (width + out) + pair),
                    .flops_per_pair = layers * pair,
                    .sample = {.rows = T, .pairs = T * T, .targets = T},
                    .activation_bytes_per_sample = static_cast<std::int64_t>(4 * kept * static_cast<double>(T))};
  config_.loss.add_cost(cost, items_, config_.channels);
  return cost;
}

}  // namespace tradewind::models
