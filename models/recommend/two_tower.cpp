// A step computes e and the item tower once for each distinct item of the micro-batch: in its histories, among its targets and
// negatives. Histories and losses then look rows of those up.
#include "models/recommend/two_tower.h"

#include <algorithm>
#include <cmath>
#include <numeric>
#include <string>

#include "kernels/embedding.h"
#include "runtime/core/transfer.h"
#include "runtime/nn/transformer.h"
#include "runtime/ops/candidate_loss.h"
#include "runtime/ops/dropout.h"
#include "runtime/ops/embedding_bag.h"
#include "runtime/ops/l2_normalize.h"
#include "runtime/ops/prefix_mean.h"
#include "runtime/ops/rows.h"

namespace tradewind::models {

using namespace runtime;  // NOLINT: a model is written in the runtime's terms

namespace {

/// Items of a catalogue that are vectors at once.
constexpr std::int64_t kItemsAtOnce = 1 << 16;

/// The distinct items of a step, and their places among these.
class ItemSet {
 public:
  explicit ItemSet(std::int64_t items) : place_(static_cast<std::size_t>(items), -1) {}
  /// Each item's place, in their shape, where the context computes; -100, no item, stays. `items` is on the host.
  Tensor places(Context& context, const Tensor& items) {
    const Tensor out(host_allocator(), items.shape(), DType::kInt32);
    const auto from = items.span<std::int32_t>();
    std::ranges::transform(from, out.data<std::int32_t>(), [this](std::int32_t item) { return item < 0 ? item : add(item); });
    return on_device(context, out);
  }
  const std::vector<std::int32_t>& items() const { return items_; }

 private:
  std::int32_t add(std::int32_t item) {
    std::int32_t& place = place_.at(static_cast<std::size_t>(item));
    if (place < 0) {
      place = static_cast<std::int32_t>(items_.size());
      items_.push_back(item);
    }
    return place;
  }
  std::vector<std::int32_t> place_, items_;
};

/// The values that the items have in a column; an item's weigh one together.
Bags bags_of(Context& context, const AttributeColumn& column, std::span<const std::int32_t> items, Parameter& table) {
  std::vector<std::int32_t> ids, bags;
  std::vector<std::int64_t> offsets{0};
  std::vector<float> weights;
  for (std::size_t n = 0; n < items.size(); ++n) {
    const auto values = column.of(items[n]);
    ids.insert(ids.end(), values.begin(), values.end());
    bags.insert(bags.end(), values.size(), static_cast<std::int32_t>(n));
    weights.insert(weights.end(), values.size(), 1.0F / static_cast<float>(std::max<std::size_t>(values.size(), 1)));
    offsets.push_back(static_cast<std::int64_t>(ids.size()));
  }
  return {.table = &table,
          .ids = on_device_of<std::int32_t>(context, ids),
          .offsets = on_device_of<std::int64_t>(context, offsets),
          .bags = on_device_of<std::int32_t>(context, bags),
          .weights = on_device_of<float>(context, weights)};
}

/// begin, begin + 1, ..., end - 1.
Tensor counting(std::int64_t begin, std::int64_t end) {
  Tensor out(host_allocator(), {end - begin}, DType::kInt32);
  std::iota(out.data<std::int32_t>(), out.data<std::int32_t>() + end - begin, static_cast<std::int32_t>(begin));
  return out;
}

}  // namespace

TwoTowerConfig::TwoTowerConfig() {
  loss.kind = "sampled_softmax";
  loss.sampling = "in_batch";
}

void TwoTowerConfig::describe(Fields& f) {
  f.field("channels", channels, "Width of the vectors of ids, of values of attributes, and of what both towers put out.",
          {.min = 1});
  f.field("hidden", hidden, "Width of the hidden layer of each tower; 0: the towers pass on what they get.", {.min = 0});
  f.field("context", context_length, "Items of a history that are trained on and looked at, the newest.", {.min = 1});
  f.field("window", window,
          "The user tower gets the mean of so many items, the newest up to each position; 0: of all in context.", {.min = 0});
  f.field("normalise", normalise, "Scores are cosines over temperature; false: products of what the towers put out.");
  f.field("temperature", temperature, "With normalise: what the cosines are divided by.", {.min = 0, .above_min = true});
  f.field("dropout", dropout, "Of the vectors of a history's items, while training.", {.min = 0, .max = 1, .below_max = true});
  loss.describe(f);
  f.field(
      "sparse_embeddings", sparse_embeddings,
      "The gradient and update of the items' table are of the items of a step alone, which pays from some 100,000 items on; "
      "all losses but softmax, and no weight decay. Adam's moments then stay as they are where an item is not in a step.");
  f.field("init_deviation", init_deviation, "Standard deviation of the initial vectors of ids and values.", {.min = 0});
}

void TwoTowerConfig::check() const {
  if (sparse_embeddings && loss.kind == "softmax")
    throw ConfigError(
        "model.sparse_embeddings = true: model.loss = \"softmax\" has a gradient for every item in every step; "
        "set model.loss to bce, gbce, bpr or sampled_softmax, or model.sparse_embeddings to false");
}

std::unique_ptr<Task> TwoTowerConfig::build(const ModelInputs& inputs) const {
  check();
  return std::make_unique<TwoTower>(*this, inputs.vocabulary, inputs.attributes);
}

TwoTower::TwoTower(const TwoTowerConfig& config, std::int64_t items, std::shared_ptr<const ItemAttributes> attributes)
    : config_(config), items_(items), attributes_(std::move(attributes)) {
  const std::int64_t C = config.channels, H = config.hidden;
  const Init vectors = Init::normal(static_cast<float>(config.init_deviation));
  table_ = &store_.add("item_embedding.weight", {items, C}, vectors, true,
                       config.sparse_embeddings ? GradientKind::kSparse : GradientKind::kDense);
  for (std::size_t a = 0; attributes_ != nullptr && a < attributes_->columns.size(); ++a) {
    const AttributeColumn& column = attributes_->columns[a];
    require(static_cast<std::int64_t>(column.offsets.size()) == items + 1, "TwoTower", "the attributes are of other items");
    // By number: a column's name may be any text.
    attribute_tables_.push_back(&store_.add("attribute_embedding." + std::to_string(a) + ".weight",
                                            {std::max<std::int64_t>(column.values.size(), 1), C}, vectors, true));
  }
  dropout_ = dropout_site(config.dropout, "embedding");
  if (H == 0) return;
  const auto tower = [&](const char* name) {
    store_.begin_block();
    return MlpLayer::make(store_, name, C, H, true, kernels::Activation::kRelu, false, std::sqrt(2.0F / static_cast<float>(C)),
                          std::sqrt(1.0F / static_cast<float>(H)));
  };
  user_tower_ = tower("user_tower");
  item_tower_ = tower("item_tower");
}

float TwoTower::scale() const { return config_.normalise ? static_cast<float>(1 / config_.temperature) : 1.0F; }

Variable TwoTower::inputs(Tape& tape, std::span<const std::int32_t> items) const {
  Context& context = tape.context();
  std::vector<Bags> bags;
  for (std::size_t a = 0; a < attribute_tables_.size(); ++a)
    bags.push_back(bags_of(context, attributes_->columns[a], items, *attribute_tables_[a]));
  return embedding_with_bags(tape, *table_, on_device_of<std::int32_t>(context, items), bags);
}

Variable TwoTower::through(Tape& tape, const Variable& x, const MlpLayer& tower) const {
  const Variable y = config_.hidden == 0 ? x : tower(tape, x);
  return config_.normalise ? l2_normalize(tape, y) : y;
}

/// Of a batch's histories, whose items are these rows of `inputs`, at every position.
Variable TwoTower::means(Tape& tape, const Variable& inputs, const Tensor& rows, const Batch& batch) const {
  const auto sequences = Sequences::of(batch);
  const Variable x = select_rows(tape, inputs, rows);
  return prefix_mean(tape, dropout(tape, x, tape.recording() ? dropout_ : kernels::Dropout{}, sequences), sequences,
                     config_.window);
}

RowLosses TwoTower::forward(Tape& tape, const Batch& batch) {
  Context& context = tape.context();
  const bool all = config_.loss.kind == "softmax";
  ItemSet set(items_);
  Candidates candidates;
  // All items are in order, so that an item's place is its number.
  if (all) candidates.negatives = set.places(context, counting(0, items_));
  const Tensor history = set.places(context, batch.on_host("ids"));
  candidates.targets = set.places(context, batch.on_host("targets"));
  if (!all) candidates.negatives = set.places(context, batch.on_host("negatives"));
  if (batch.fields.contains("log_q")) {
    const auto log_q = batch.on_host("log_q").span<float>();
    std::vector<float> some;
    for (const std::int32_t item : set.items()) some.push_back(log_q[static_cast<std::size_t>(item)]);
    candidates.log_q = on_device_of<float>(context, some);
  }
  const Variable e = inputs(tape, set.items());
  const Variable user = through(tape, means(tape, e, history, batch), user_tower_);
  auto options = config_.loss.options();
  options.scale = scale();
  options.items = items_;
  return candidate_loss(tape, user, through(tape, e, item_tower_), candidates, options);
}

Tensor TwoTower::queries(Context& context, const Batch& batch) {
  Tape tape(context, false);
  ItemSet set(items_);
  const Tensor history = set.places(context, batch.on_host("ids"));
  const Tensor last = last_rows(context, means(tape, inputs(tape, set.items()), history, batch).value(), batch);
  const Tensor y = through(tape, tape.constant(last), user_tower_).value();
  const std::int64_t S = y.size(0), C = y.size(1);
  Tensor out = context.tensor({S, C}, y.dtype());
  const Tensor each = on_device(context, counting(0, S));
  kernels::embedding_forward(out.raw(), y.raw(), each.data<std::int32_t>(), S, S, C, kernels::Write::kAssign,
                             {y.dtype(), scale()}, context.launch());
  const auto* offsets = batch.on_host("offsets").data<std::int64_t>();
  for (std::int64_t s = 0; s < S; ++s)
    if (offsets[s + 1] == offsets[s]) out.view(s * C, {C}).zero();  // the tower makes something of nothing
  return out;
}

Tensor TwoTower::item_vectors(Context& context) {
  Tape tape(context, false);
  Tensor out = context.activation({items_, config_.channels});
  for (std::int64_t begin = 0; begin < items_; begin += kItemsAtOnce) {
    const Tensor some = counting(begin, std::min(items_, begin + kItemsAtOnce));
    const Tensor y = through(tape, inputs(tape, some.span<std::int32_t>()), item_tower_).value();
    const std::size_t bytes = static_cast<std::size_t>(config_.channels) * kernels::size_of(y.dtype());
    copy_rows(out.at(begin * config_.channels), bytes, y.raw(), bytes, bytes, static_cast<std::size_t>(some.elements()),
              context);
  }
  return out;
}

// Which items of a micro-batch are the same is not known here: those of histories, targets and negatives count as all distinct,
// as far as there are items. The catalogue's way through the item tower, which a full softmax asks for once a micro-batch, is
// in the memory and not in the FLOPs.
CostEstimate TwoTower::cost() const {
  const std::int64_t T = config_.context_length, C = config_.channels, H = config_.hidden;
  const bool all = config_.loss.kind == "softmax", own = config_.negatives().by_position(), shared = !all && !own;
  CostEstimate out{.flops_per_row = 2 * static_cast<double>(C + 2 * C * H),
                   .flops_per_target = 4 * static_cast<double>(C * H),
                   .flops_per_negative = own ? 4 * static_cast<double>(C * H) : 0,
                   .sample = {.rows = T, .pairs = T * T, .targets = T},
                   .activation_bytes_per_sample = 4 * T * (8 * C + H)};
  config_.loss.add_cost(out, items_, C);
  const std::int64_t set = config_.negatives().in_batch() ? 0 : config_.loss.negatives_per_position;
  out.distinct = {.bytes = 4 * (7 * C + H),
                  .per_sample = all   ? 0
                                : own ? T * (2 + set)
                                      : 2 * T,
                  .per_batch = all      ? items_
                               : shared ? set
                                        : 0,
                  .most = items_};
  if (!all) return out;
  // The loss takes the catalogue as the negatives that rows share.
  out.softmax = {};
  out.candidates = {.rows = items_, .channels = C, .negatives = items_, .shared = true};
  return out;
}

}  // namespace tradewind::models
