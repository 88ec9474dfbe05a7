// What a run learns from, whatever its kind, as trainer and evaluator take it.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "launcher/run_config.h"
#include "models/recommend/ranking_validation.h"
#include "runtime/checkpoint/checkpoint.h"
#include "runtime/data/interactions.h"
#include "runtime/data/sequence_dataset.h"
#include "runtime/data/text_dataset.h"
#include "runtime/train/evaluator.h"

namespace tradewind::launcher {

struct RunData {
  std::shared_ptr<const runtime::Dataset> train;          // null: the model is fitted to `interactions`
  std::shared_ptr<const runtime::Validation> validation;  // null: there is no validation part
  models::ModelInputs inputs;
  std::uint64_t checksum = 0;
  std::string source;   // the file, for messages
  std::string summary;  // lines for the run log
  std::string found;    // a line for the dry run
  std::string sample;   // what a sample is, in the plural: "blocks of 64 tokens"
  /// Goes into every checkpoint: under "run" of its state, and beside the parameters. It gives `inputs` back without the data.
  nlohmann::json state;
  std::vector<runtime::TensorSlice> tensors;

  std::shared_ptr<const runtime::Interactions> interactions;  // null for a text
  std::int64_t newest = 0;                                    // event, in seconds since 1970; 0 where there are no times
};

/// What items are known by, where there is a checkpoint: what it keeps, or the table data.items, read again.
enum class ItemTable : std::uint8_t { kKept, kRead };

/// `kept`: a checkpoint whose tokenizer or vocabulary stays; null: made of the data. Throws DataError or ConfigError.
RunData load_run_data(const RunConfig& config, const runtime::Checkpoint* kept, ItemTable table = ItemTable::kKept);

/// What a user did, all of it, for serving.
struct History {
  std::vector<std::int32_t> items;
  runtime::HistoryTimes times;  // where the model reads them: what comes next is asked for at the newest event of the data
};
/// user < 0: none.
History history_of(const RunConfig& config, const RunData& data, std::int32_t user);

/// How recommenders are ranked, as [evaluate] asks.
models::RankingOptions ranking_options(const RunConfig& config);

/// The names that a checkpoint holds. Throws CheckpointError where it holds none.
std::shared_ptr<const runtime::Vocabulary> item_vocabulary_of(const runtime::Checkpoint& checkpoint);
std::shared_ptr<const runtime::Vocabulary> user_vocabulary_of(const runtime::Checkpoint& checkpoint);

/// The attributes of items that a checkpoint holds; null where it holds none.
std::shared_ptr<const runtime::ItemAttributes> attributes_of(const runtime::Checkpoint& checkpoint);

/// What the model of a checkpoint was built with.
models::ModelInputs inputs_of(const RunConfig& config, const runtime::Checkpoint& checkpoint);

}  // namespace tradewind::launcher
