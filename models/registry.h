// The models that a config can name.
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "runtime/config/fields.h"
#include "runtime/train/task.h"

namespace tradewind::models {

/// What the data decides about a model.
struct ModelInputs {
  std::int64_t vocabulary = 0;
};

/// The [model] section of one kind of model. `name` itself is read by the launcher.
class ModelConfig {
 public:
  virtual ~ModelConfig() = default;
  virtual void describe(runtime::Fields& f) = 0;
  /// Throws ConfigError where values do not fit together (channels not a multiple of heads, ...).
  virtual void check() const = 0;
  /// Length of the blocks that it is trained on.
  virtual std::int64_t context() const = 0;
  /// The task with its parameters registered, not yet allocated.
  virtual std::unique_ptr<runtime::Task> build(const ModelInputs& inputs) const = 0;
};

struct ModelEntry {
  std::string name;
  std::string doc;
  std::function<std::unique_ptr<ModelConfig>()> config;
};

class Registry {
 public:
  void add(ModelEntry entry) { entries_.push_back(std::move(entry)); }
  /// Throws ConfigError with "did you mean" where there is none of that name.
  const ModelEntry& find(const std::string& name) const;
  const std::vector<ModelEntry>& entries() const { return entries_; }

 private:
  std::vector<ModelEntry> entries_;
};

/// The models that come with Tradewind.
Registry builtin_registry();

}  // namespace tradewind::models
