// Counting goes item by item: the users of item i, and of each the items it had, make the row n_i. of the co-occurrence matrix
// in V counters of a thread, of which only the touched ones are looked at and cleared. So the matrix is never held, an item's
// neighbours depend on nothing but the events, and threads share items.
#include "models/recommend/item_knn.h"

#include <algorithm>
#include <cmath>
#include <numeric>

#include "kernels/base/parallel.h"
#include "runtime/core/transfer.h"

namespace tradewind::models {

using namespace runtime;  // NOLINT: as models are written

namespace {

constexpr std::int64_t kBlockBytes = std::int64_t{64} << 20;  // of scores

std::size_t index(std::int64_t i) { return static_cast<std::size_t>(i); }

/// Lists one behind the other.
struct Lists {
  std::vector<std::int64_t> offsets{0};
  std::vector<std::int32_t> values;
  std::span<const std::int32_t> of(std::int64_t i) const {
    return std::span(values).subspan(index(offsets[index(i)]), index(offsets[index(i) + 1] - offsets[index(i)]));
  }
  void close() { offsets.push_back(static_cast<std::int64_t>(values.size())); }
};

void make_distinct(std::vector<std::int32_t>& items) {
  std::ranges::sort(items);
  items.erase(std::unique(items.begin(), items.end()), items.end());
}

/// The items of each user's newest `newest` training events, ascending, each once.
Lists items_of_users(const Interactions& x, std::int64_t newest) {
  Lists out;
  std::vector<std::int32_t> items;
  for (std::size_t user = 0; user + 1 < x.offsets.size(); ++user) {
    items.clear();
    for (std::int64_t e = x.offsets[user + 1]; e-- > x.offsets[user] && static_cast<std::int64_t>(items.size()) < newest;)
      if (x.part[index(e)] == Part::kTrain) items.push_back(x.item[index(e)]);
    make_distinct(items);
    out.values.insert(out.values.end(), items.begin(), items.end());
    out.close();
  }
  return out;
}

/// The users of each item, ascending.
Lists users_of_items(const Lists& items, std::int64_t V) {
  Lists out;
  out.offsets.assign(index(V) + 1, 0);
  for (const std::int32_t item : items.values) ++out.offsets[index(item) + 1];
  std::partial_sum(out.offsets.begin(), out.offsets.end(), out.offsets.begin());
  out.values.resize(items.values.size());
  std::vector<std::int64_t> next(out.offsets.begin(), out.offsets.end() - 1);
  for (std::size_t user = 0; user + 1 < items.offsets.size(); ++user)
    for (const std::int32_t item : items.of(static_cast<std::int64_t>(user)))
      out.values[index(next[index(item)]++)] = static_cast<std::int32_t>(user);
  return out;
}

bool more_similar(const ItemKnn::Neighbour& a, const ItemKnn::Neighbour& b) {
  return a.similarity != b.similarity ? a.similarity > b.similarity : a.item < b.item;
}

template <class T>
Tensor tensor_of(const std::vector<T>& values) {
  Tensor out(host_allocator(), {static_cast<std::int64_t>(values.size())}, kernels::dtype_of<T>);
  std::ranges::copy(values, out.data<T>());
  return out;
}

}  // namespace

void ItemKnnConfig::describe(Fields& f) {
  f.field("neighbours", neighbours, "Of each item, the most similar ones that are kept.", {.min = 1});
  f.field("shrink", shrink, "Added to the similarity's denominator: items that few users had are trusted less.", {.min = 0});
  f.field("context", context_length, "Items of a history that count, the newest; in training as well.", {.min = 1});
}

std::unique_ptr<Task> ItemKnnConfig::build(const ModelInputs& inputs) const {
  return std::make_unique<ItemKnn>(*this, inputs.vocabulary);
}

void ItemKnn::fit(Context& context, const Interactions& interactions) {
  require(interactions.items->size() == items_, "ItemKnn", "the events are of another catalogue");
  const Lists items = items_of_users(interactions, config_.context_length), users = users_of_items(items, items_);
  const auto popularity = [&](std::int64_t i) { return static_cast<double>(users.of(i).size()); };
  std::vector<std::vector<Neighbour>> found(index(items_));
  const auto find = [&](std::int64_t begin, std::int64_t end) {
    std::vector<std::int32_t> together(index(items_)), touched;
    for (std::int64_t i = begin; i < end; ++i) {
      touched.clear();
      for (const std::int32_t user : users.of(i))
        for (const std::int32_t j : items.of(user))
          if (j != i && together[index(j)]++ == 0) touched.push_back(j);
      auto& best = found[index(i)];
      for (const std::int32_t j : touched) {
        const double similarity = together[index(j)] / (std::sqrt(popularity(i) * popularity(j)) + config_.shrink);
        best.push_back({j, static_cast<float>(similarity)});
        together[index(j)] = 0;
      }
      const auto keep = static_cast<std::ptrdiff_t>(std::min<std::int64_t>(config_.neighbours, std::ssize(best)));
      std::partial_sort(best.begin(), best.begin() + keep, best.end(), more_similar);
      best.resize(static_cast<std::size_t>(keep));
      best.shrink_to_fit();
    }
  };
  // Pieces are large enough that a piece's counters cost little.
  kernels::parallel_pieces(items_, std::max<std::int64_t>(64, items_ / (16 * std::int64_t{context.threads()})),
                           context.threads(), find);
  std::vector<std::int64_t> offsets{0};
  std::vector<std::int32_t> neighbours;
  std::vector<float> similarities;
  for (const auto& best : found) {
    for (const auto& [item, similarity] : best) {
      neighbours.push_back(item);
      similarities.push_back(similarity);
    }
    offsets.push_back(std::ssize(neighbours));
  }
  offsets_ = tensor_of(offsets), neighbours_ = tensor_of(neighbours), similarities_ = tensor_of(similarities);
}

std::vector<NamedTensor> ItemKnn::learned() const {
  return {{.name = "neighbours.offsets", .data = offsets_},
          {.name = "neighbours.items", .data = neighbours_},
          {.name = "neighbours.similarities", .data = similarities_}};
}

void ItemKnn::restore(Context&, const Checkpoint& checkpoint) {
  offsets_ = whole_tensor(checkpoint, "neighbours.offsets", DType::kInt64);
  neighbours_ = whole_tensor(checkpoint, "neighbours.items", DType::kInt32);
  similarities_ = whole_tensor(checkpoint, "neighbours.similarities", DType::kFloat32);
  const auto offsets = offsets_.span<std::int64_t>();
  const auto items = neighbours_.span<std::int32_t>();
  const bool good = std::ssize(offsets) == items_ + 1 && offsets[0] == 0 && std::ranges::is_sorted(offsets) &&
                    offsets.back() == std::ssize(items) && similarities_.elements() == std::ssize(items) &&
                    std::ranges::all_of(items, [&](std::int32_t i) { return i >= 0 && i < items_; });
  if (!good)
    throw CheckpointError("loading the checkpoint: its neighbours are not those of " + std::to_string(items_) +
                          " items; use the config that the run was trained with");
}

RowLosses ItemKnn::forward(Tape&, const Batch&) { throw InternalError("ItemKnn: there is nothing to train"); }

std::int64_t ItemKnn::queries_at_once() const {
  return std::max<std::int64_t>(1, kBlockBytes / (items_ * static_cast<std::int64_t>(sizeof(float))));
}

void ItemKnn::add_neighbours(float* scores, std::int32_t item) const {
  const auto* offsets = offsets_.data<std::int64_t>();
  for (std::int64_t n = offsets[item]; n < offsets[item + 1]; ++n)
    scores[neighbours_.data<std::int32_t>()[n]] += similarities_.data<float>()[n];
}

CatalogueScores ItemKnn::scores(Context& context, const Batch& batch) {
  const auto* offsets = batch.on_host("offsets").data<std::int64_t>();
  const auto* ids = batch.on_host("ids").data<std::int32_t>();
  const std::int64_t S = batch["offsets"].elements() - 1;
  const Tensor out(host_allocator(), {S, items_}, DType::kFloat32);
  kernels::parallel_pieces(S, 1, context.threads(), [&](std::int64_t begin, std::int64_t end) {
    std::vector<std::int32_t> history;
    for (std::int64_t s = begin; s < end; ++s) {
      float* const scores = out.data<float>() + s * items_;
      std::fill_n(scores, items_, 0.0F);
      history.assign(ids + offsets[s], ids + offsets[s + 1]);
      make_distinct(history);
      for (const std::int32_t item : history) add_neighbours(scores, item);
    }
  });
  return {.queries = {}, .items = {}, .bias = {}, .given = on_device(context, out)};
}

Likeness ItemKnn::likeness(Context& context, std::int32_t item) {
  const Tensor out(host_allocator(), {1, items_}, DType::kFloat32);
  out.zero();
  add_neighbours(out.data<float>(), item);
  return {.scores = {.queries = {}, .items = {}, .bias = {}, .given = on_device(context, out)},
          .name = "similarity",
          .meaning = "users that had both items, over the root of the product of those that had each, plus model.shrink",
          .some_unlike = true};
}

std::vector<ItemKnn::Neighbour> ItemKnn::neighbours_of(std::int32_t item) const {
  std::vector<Neighbour> out;
  for (std::int64_t n = offsets_.data<std::int64_t>()[item]; n < offsets_.data<std::int64_t>()[item + 1]; ++n)
    out.push_back({neighbours_.data<std::int32_t>()[n], similarities_.data<float>()[n]});
  return out;
}

}  // namespace tradewind::models
