#include "launcher/run_data.h"

#include <fmt/format.h>
#include <xxhash.h>

#include <algorithm>

#include "launcher/session.h"
#include "runtime/data/pair_dataset.h"

namespace tradewind::launcher {
namespace {

using models::DataKind;
using runtime::Part;

constexpr const char *kItems = "vocabulary.items", *kUsers = "vocabulary.users", *kAttributes = "vocabulary.attributes";

RunData load_text(const RunConfig& config, const runtime::Checkpoint* kept) {
  const auto tokenizer = kept == nullptr ? nullptr : tokenizer_of(*kept);
  const auto corpus = runtime::load_text_corpus(config.data, config.model->context(),
                                                static_cast<std::uint64_t>(config.run.seed), tokenizer.get());
  RunData out;
  out.train = corpus.train;
  if (corpus.validation != nullptr) out.validation = std::make_shared<runtime::LossValidation>(corpus.validation);
  out.inputs.vocabulary = corpus.tokenizer->vocabulary_size();
  out.checksum = corpus.train->checksum();
  out.source = config.data.path;
  out.summary = corpus.summary;
  out.found = fmt::format("{} training tokens, {} validation tokens, vocabulary {}", corpus.train->tokens(),
                          corpus.validation ? corpus.validation->tokens() : 0, out.inputs.vocabulary);
  out.sample = fmt::format("blocks of {} tokens", config.model->context());
  out.state = {{"tokenizer", corpus.tokenizer->to_json()}};
  return out;
}

std::shared_ptr<const runtime::Dataset> training_samples(const RunConfig& config,
                                                         const std::shared_ptr<const runtime::Interactions>& interactions) {
  if (config.model->samples() == models::Samples::kPairs)
    return std::make_shared<runtime::PairDataset>(interactions,
                                                  runtime::PairOptions{.negatives = config.model->negatives().count,
                                                                       .seed = static_cast<std::uint64_t>(config.run.seed)});
  return std::make_shared<runtime::SequenceDataset>(
      interactions, runtime::SequenceOptions{.context = config.model->context(),
                                             .negatives = config.model->negatives(),
                                             .seed = static_cast<std::uint64_t>(config.run.seed),
                                             .targets = config.model->targets(),
                                             .times = config.model->reads_times(),
                                             .from_newest = config.model->positions_from_newest()});
}

runtime::TensorSlice kept_bytes(const char* name, const std::string& bytes) {
  const runtime::Tensor out(runtime::host_allocator(), {static_cast<std::int64_t>(bytes.size())}, runtime::DType::kUInt8);
  std::copy(bytes.begin(), bytes.end(), out.data<std::uint8_t>());
  return {.name = name, .data = out, .global_shape = out.shape()};
}

std::string bytes_of(const runtime::Checkpoint& checkpoint, const char* name) {
  const std::int64_t size = checkpoint.shape(name).elements();
  std::string bytes(static_cast<std::size_t>(size), '\0');
  checkpoint.read(name, 0, size, runtime::DType::kUInt8, bytes.data());
  return bytes;
}

std::string source_of(const runtime::Checkpoint& checkpoint) {
  return fmt::format("the checkpoint of step {}", checkpoint.step());
}

std::shared_ptr<const runtime::Vocabulary> names_of(const runtime::Checkpoint& checkpoint, const char* name, const char* what) {
  if (!checkpoint.contains(name)) throw CheckpointError(fmt::format("{} holds no names of {}", source_of(checkpoint), what));
  return std::make_shared<const runtime::Vocabulary>(
      runtime::Vocabulary::parse(bytes_of(checkpoint, name), source_of(checkpoint)));
}

/// Null where the model reads none, or there are none.
std::shared_ptr<const runtime::ItemAttributes> load_attributes(const RunConfig& config, const runtime::Vocabulary& items,
                                                               const runtime::Checkpoint* kept, ItemTable table) {
  if (!config.model->reads_attributes()) return nullptr;
  const auto before = kept == nullptr ? nullptr : attributes_of(*kept);
  if (config.interactions.items.empty() || (before != nullptr && table == ItemTable::kKept)) return before;
  runtime::ThrowProblems sink;
  return std::make_shared<const runtime::ItemAttributes>(
      runtime::load_item_attributes(config.interactions, items, sink, before.get()));
}

/// Of the events, and of what items are known by.
std::uint64_t checksum_of(const runtime::Interactions& interactions, const runtime::ItemAttributes* attributes) {
  if (attributes == nullptr) return interactions.checksum;
  const std::uint64_t sum = attributes->checksum();
  return XXH3_64bits_withSeed(&sum, sizeof sum, interactions.checksum);
}

RunData load_interactions(const RunConfig& config, const runtime::Checkpoint* kept, ItemTable table) {
  const bool knows_users = config.model->knows_users();
  const auto items = kept == nullptr ? nullptr : item_vocabulary_of(*kept);
  const auto users = kept == nullptr || !knows_users ? nullptr : user_vocabulary_of(*kept);
  const auto interactions = std::make_shared<const runtime::Interactions>(
      runtime::load_interactions(config.interactions, static_cast<std::uint64_t>(config.run.seed), users.get(), items.get()));
  const std::int64_t context = config.model->context();
  RunData out;
  if (!config.model->fitted()) out.train = training_samples(config, interactions);
  const auto held_out =
      std::make_shared<runtime::HeldOut>(interactions, Part::kValidation, config.model->history(interactions->items->size()));
  if (held_out->size() > 0) out.validation = std::make_shared<models::RankingValidation>(held_out, ranking_options(config));
  out.inputs = {.vocabulary = interactions->items->size(),
                .users = knows_users ? interactions->users->size() : 0,
                .attributes = load_attributes(config, *interactions->items, kept, table)};
  const auto* const attributes = out.inputs.attributes.get();
  out.checksum = checksum_of(*interactions, attributes);
  out.source = config.interactions.path;
  out.summary = interactions->summary;
  if (attributes != nullptr && !attributes->summary.empty()) out.summary += "\n" + attributes->summary;
  if (out.train != nullptr)
    out.summary += fmt::format("\ntraining: {} {}; validation: {} users", out.train->samples_per_epoch(),
                               knows_users                        ? "events of users with items"
                               : config.model->targets().prefixes ? "events with a history to learn from"
                                                                  : "users with a history to learn from",
                               held_out->size());
  out.found = fmt::format("{} users, {} items, {} events", interactions->users->size(),
                          interactions->items->size() - interactions->items->buckets(), interactions->item.size());
  out.sample = knows_users ? "events" : fmt::format("users' histories of up to {} items", context);
  out.state = {{"items", interactions->items->size()}};
  out.tensors.push_back(kept_bytes(kItems, interactions->items->serialised()));
  if (knows_users) out.tensors.push_back(kept_bytes(kUsers, interactions->users->serialised()));
  if (attributes != nullptr) {
    out.state["attributes_checksum"] = attributes->checksum();
    out.tensors.push_back(kept_bytes(kAttributes, attributes->serialised()));
  }
  out.interactions = interactions;
  if (!interactions->time.empty()) out.newest = runtime::seconds_of(std::ranges::max(interactions->time));
  return out;
}

}  // namespace

RunData load_run_data(const RunConfig& config, const runtime::Checkpoint* kept, ItemTable table) {
  return config.model->data_kind() == DataKind::kText ? load_text(config, kept) : load_interactions(config, kept, table);
}

History history_of(const RunConfig& config, const RunData& data, std::int32_t user) {
  History out;
  if (user < 0) return out;
  const auto& interactions = *data.interactions;
  const auto items = interactions.items_of(user);
  out.items.assign(items.begin(), items.end());
  if (!config.model->reads_times()) return out;
  out.times = runtime::times_of(interactions, user, [](Part) { return true; });
  out.times.request = data.newest;
  return out;
}

models::RankingOptions ranking_options(const RunConfig& config) {
  const auto& e = config.evaluate;
  return {.cutoffs = {e.cutoff},
          .leave_out_seen = e.seen_items == "leave_out",
          .best_by = e.best_by.empty() ? fmt::format("ndcg@{}", e.cutoff) : e.best_by,
          .candidates = e.candidates,
          .seed = static_cast<std::uint64_t>(config.run.seed)};
}

std::shared_ptr<const runtime::Vocabulary> item_vocabulary_of(const runtime::Checkpoint& checkpoint) {
  return names_of(checkpoint, kItems, "items");
}

std::shared_ptr<const runtime::Vocabulary> user_vocabulary_of(const runtime::Checkpoint& checkpoint) {
  return names_of(checkpoint, kUsers, "users");
}

std::shared_ptr<const runtime::ItemAttributes> attributes_of(const runtime::Checkpoint& checkpoint) {
  if (!checkpoint.contains(kAttributes)) return nullptr;
  return std::make_shared<const runtime::ItemAttributes>(
      runtime::ItemAttributes::parse(bytes_of(checkpoint, kAttributes), source_of(checkpoint)));
}

models::ModelInputs inputs_of(const RunConfig& config, const runtime::Checkpoint& checkpoint) {
  if (config.model->data_kind() == DataKind::kText) return {.vocabulary = tokenizer_of(checkpoint)->vocabulary_size()};
  return {.vocabulary = item_vocabulary_of(checkpoint)->size(),
          .users = config.model->knows_users() ? user_vocabulary_of(checkpoint)->size() : 0,
          .attributes = config.model->reads_attributes() ? attributes_of(checkpoint) : nullptr};
}

}  // namespace tradewind::launcher
