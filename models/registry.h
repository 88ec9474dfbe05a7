// The models that a config can name.
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "models/huggingface.h"
#include "runtime/config/fields.h"
#include "runtime/data/item_attributes.h"
#include "runtime/data/sequence_dataset.h"
#include "runtime/train/task.h"

namespace tradewind::models {

/// What the data decides about a model.
struct ModelInputs {
  std::int64_t vocabulary = 0;  // tokens, or items of the catalogue
  std::int64_t users = 0;       // of models that know users by number
  /// Of models that read them, and have some.
  std::shared_ptr<const runtime::ItemAttributes> attributes = nullptr;
};

/// What a model learns from; decides what the config's [data] section is.
enum class DataKind : std::uint8_t {
  kText,          // runtime::DataConfig; tokens
  kInteractions,  // runtime::InteractionsConfig; users' events with items
};

/// What a step learns from where the data are users' events.
enum class Samples : std::uint8_t {
  kHistories,  // runtime::SequenceDataset: what comes next in a user's history
  kPairs,      // runtime::PairDataset; a single event. The model knows users by their number, which its run keeps
  kNone,       // nothing is stepped: the model is fitted in one pass (runtime/train/fitting.h)
};

using runtime::NegativeSampling;

/// The [model] section of one kind of model. `name` itself is read by the launcher.
class ModelConfig {
 public:
  virtual ~ModelConfig() = default;
  virtual void describe(runtime::Fields& f) = 0;
  /// Throws ConfigError where values do not fit together (channels not a multiple of heads, ...).
  virtual void check() const = 0;
  virtual DataKind data_kind() const { return DataKind::kText; }
  virtual Samples samples() const { return Samples::kHistories; }
  bool fitted() const { return samples() == Samples::kNone; }
  bool knows_users() const { return samples() == Samples::kPairs; }
  virtual NegativeSampling negatives() const { return {}; }
  /// Of interactions: what is asked for in training, and how a history is packed that is asked for the next of `items` items.
  virtual runtime::SequenceTargets targets() const { return {}; }
  virtual runtime::HistoryForm history(std::int64_t /*items*/) const {
    return {context(), -1, reads_times(), positions_from_newest()};
  }
  /// The batch's positions count from a history's newest row (runtime/data/sequence_dataset.h), not from its oldest.
  virtual bool positions_from_newest() const { return false; }
  /// The model reads the batch's times (runtime/data/sequence_dataset.h), so the data must have them.
  virtual bool reads_times() const { return false; }
  /// The model knows items by their attributes (runtime/data/item_attributes.h) where the data have them.
  virtual bool reads_attributes() const { return false; }
  /// Length of the blocks that it is trained on; of interactions, the most events of a history that it reads.
  virtual std::int64_t context() const = 0;
  /// The task with its parameters registered, not yet allocated.
  virtual std::unique_ptr<runtime::Task> build(const ModelInputs& inputs) const = 0;
  /// The model, with `vocabulary` rows in its token table, as a Hugging Face directory. Throws ConfigError where it has no such
  /// form, naming the key; that is what a model does that does not override this.
  virtual HuggingFaceForm huggingface(std::int64_t vocabulary) const;
};

struct ModelEntry {
  std::string name;
  std::string doc;
  std::function<std::unique_ptr<ModelConfig>()> config;
  std::string huggingface_type = {};  // config.json's "model_type" of directories that can be imported; "": none
  /// Reads config.json. Throws ConfigError naming the key.
  std::function<std::unique_ptr<ModelConfig>(const nlohmann::json&)> from_huggingface = {};
};

class Registry {
 public:
  void add(ModelEntry entry) { entries_.push_back(std::move(entry)); }
  /// Throws ConfigError with "did you mean" where there is none of that name.
  const ModelEntry& find(const std::string& name) const;
  /// The one that reads this "model_type". Throws ConfigError naming those there are.
  const ModelEntry& find_huggingface(const std::string& type) const;
  const std::vector<ModelEntry>& entries() const { return entries_; }

 private:
  std::vector<ModelEntry> entries_;
};

/// The models that come with Tradewind.
Registry builtin_registry();

}  // namespace tradewind::models
