// What ranking and serving need of a model of users and items: a score for every item. A Recommender gives a vector a history
// and a vector an item, whose products the scores are; other rankers give them as they are.
#pragma once

#include <algorithm>
#include <cstdint>
#include <limits>
#include <span>
#include <string>

#include "kernels/catalogue.h"
#include "runtime/core/transfer.h"
#include "runtime/train/task.h"

namespace tradewind::models {

/// Scores of S queries against every item, where the context computes: products that nobody holds, or a block of them.
struct CatalogueScores {
  runtime::Tensor queries, items, bias;  // [S, C], [V, C], and [V] or undefined; of one type
  runtime::Tensor given;                 // [S, V] float32; then the others are undefined

  std::int64_t size() const { return given.defined() ? given.size(0) : queries.size(0); }
  std::int64_t items_scored() const { return given.defined() ? given.size(1) : items.size(0); }
  /// As kernels/catalogue.h takes them, without exclusions. Throws InternalError where the two sides do not fit.
  kernels::Catalogue catalogue() const;
  /// Of query n and an item, of on_host(): one of few.
  float score(std::int64_t n, std::int32_t item) const;
  /// In float32.
  CatalogueScores on_host() const;
};

/// How much every item is like one item.
struct Likeness {
  CatalogueScores scores;    // of one query
  std::string name;          // of a score, as a column and a key: "cosine"
  std::string meaning;       // "of the items' vectors"
  bool some_unlike = false;  // an item with the score 0 is not like it at all
};

class Ranker : public runtime::Task {
 public:
  virtual std::int64_t items() const = 0;
  /// One row a sequence of the batch, in evaluation mode. A sequence of length 0 gets the same score for every item. Reads the
  /// batch's fields but "targets"; "users" where the model knows users by their number.
  virtual CatalogueScores scores(runtime::Context& context, const runtime::Batch& batch) = 0;
  /// The most sequences that scores() is asked for at once, which bounds its memory.
  virtual std::int64_t queries_at_once() const { return std::numeric_limits<std::int64_t>::max(); }
  /// The model's parameters stay as they are until drop_items(): what all queries share may be computed now and kept. False
  /// where that is done already, or there is nothing to keep. Through Scoring alone.
  virtual bool keep_items(runtime::Context& /*context*/) { return false; }
  virtual void drop_items() {}
  /// How much every item is like `item`. Throws ConfigError where the model does not tell.
  virtual Likeness likeness(runtime::Context& context, std::int32_t item) = 0;
  /// Whether there is something to recommend by: a history, or a user that the model has met. `user` is -1 where nobody knows
  /// its number.
  virtual bool knows(std::int32_t /*user*/, std::span<const std::int32_t> history) const { return !history.empty(); }
};

class Recommender : public Ranker {
 public:
  /// [S, C], one row a sequence of the batch, in evaluation mode, in the type of item_vectors(). A sequence of length 0 has a
  /// row of zeros, so that it is told nothing apart. Reads the batch's fields but "targets".
  virtual runtime::Tensor queries(runtime::Context& context, const runtime::Batch& batch) = 0;
  /// [V, C], what the scores are products with.
  virtual runtime::Tensor item_vectors(runtime::Context& context) = 0;
  /// [V] in the type of item_vectors(), to be added to the scores; undefined where there is none.
  virtual runtime::Tensor item_bias() { return {}; }

  CatalogueScores scores(runtime::Context& context, const runtime::Batch& batch) override;
  /// Their vectors.
  bool keep_items(runtime::Context& context) override;
  void drop_items() override { kept_items_ = {}; }
  /// Cosines of the items' vectors.
  Likeness likeness(runtime::Context& context, std::int32_t item) override;

 private:
  runtime::Tensor kept_items_;  // [V, C] within a Scoring
};

/// While it lives a model is asked for scores and its parameters stay as they are, so that the vectors of all items are
/// computed once. Within another one of the same model it changes nothing.
class Scoring {
 public:
  Scoring(runtime::Context& context, Ranker& model) : model_(model), keeps_(model.keep_items(context)) {}
  ~Scoring() {
    if (keeps_) model_.drop_items();
  }
  Scoring(const Scoring&) = delete;
  Scoring& operator=(const Scoring&) = delete;

 private:
  Ranker& model_;
  bool keeps_;
};

/// The last row of each sequence of x [N, C]: [S, C]; zeros where a sequence has none.
runtime::Tensor last_rows(runtime::Context& context, const runtime::Tensor& x, const runtime::Batch& batch);

/// On the host in float32, of float32 or bfloat16.
runtime::Tensor host_floats(const runtime::Tensor& x);

/// Values of the host where the context computes.
template <class T>
runtime::Tensor on_device_of(runtime::Context& context, std::span<const T> values) {
  const runtime::Tensor host(runtime::host_allocator(), {static_cast<std::int64_t>(values.size())}, kernels::dtype_of<T>);
  std::copy(values.begin(), values.end(), host.data<T>());
  return runtime::on_device(context, host);
}

}  // namespace tradewind::models
