// How good a task is on data held out: a Validation knows the data and what is measured on it, in evaluation mode, without
// dropout and gradients.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "runtime/comm/communicator.h"
#include "runtime/train/task.h"

namespace tradewind::runtime {

/// Of the held-out events that have a value in common.
struct EvaluationSlice {
  std::string slice, value;  // "item:items.csv:category", "shoes"
  std::int64_t users = 0, targets = 0;
  std::vector<std::pair<std::string, double>> metrics = {};
};

struct Evaluation {
  double loss = 0;           // mean negative log-likelihood of the valid targets, nats
  double perplexity = 0;     // exp(loss); 0: not measured
  double bits_per_byte = 0;  // total nll / ln 2 / UTF-8 bytes of the targets; 0 where the data set does not count bytes
  std::vector<std::pair<std::string, double>> metrics = {};        // others: "ndcg@10", ...
  std::size_t headline = 0;                                        // how many of them, from the first, a line of text shows
  std::vector<std::pair<std::string, double>> other_metrics = {};  // the same under another rule, where that was asked for
  std::string best_by = "loss";  // what tells the best checkpoint: "loss" (lower), or one of `metrics` (higher)
  std::int64_t candidates = 0;   // sampled ones that each target was ranked among; 0: all
  std::int64_t targets = 0;
  std::vector<EvaluationSlice> slices = {};
  double seconds = 0;

  /// Of `best_by`. Throws InternalError where it is no metric of these.
  double best_value() const;
  bool better_than(double value) const { return best_by == "loss" ? best_value() < value : best_value() > value; }
  /// "loss 1.2345, perplexity 3.437, ...": what there is, of the metrics the headline.
  std::string text() const;
};

struct EvaluationPlan {
  std::int64_t batch = 1;                                         // samples at once
  std::int64_t max_batches = 0;                                   // 0: all
  std::function<void(std::int64_t, std::int64_t)> progress = {};  // (done, total) after each batch
  std::function<bool()> stop = {};                                // asked before each batch; where one rank says yes, all end
  Communicator* communicator = nullptr;                           // null: alone
};

/// An evaluation ended because EvaluationPlan::stop said so, on all ranks alike.
struct EvaluationStopped {};

class Validation {
 public:
  virtual ~Validation() = default;
  /// Every sample once, in order, or the first max_batches batches of them. Collective: rank r of n takes every n-th batch, and
  /// all ranks get the same result. Throws EvaluationStopped.
  virtual Evaluation run(Context& context, Task& task, const EvaluationPlan& plan) const = 0;
  virtual std::int64_t samples() const = 0;
};

/// Samples [begin, end) of this rank's batches, in order. Calls plan.progress behind each. Throws EvaluationStopped.
void for_each_batch(std::int64_t samples, const EvaluationPlan& plan,
                    const std::function<void(std::int64_t, std::int64_t)>& batch);

/// The loss over a data set.
class LossValidation final : public Validation {
 public:
  explicit LossValidation(std::shared_ptr<const Dataset> data) : data_(std::move(data)) {}
  Evaluation run(Context& context, Task& task, const EvaluationPlan& plan) const override;
  std::int64_t samples() const override { return data_->samples_per_epoch(); }

 private:
  std::shared_ptr<const Dataset> data_;
};

}  // namespace tradewind::runtime
