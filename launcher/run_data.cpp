#include "launcher/run_data.h"

#include <fmt/format.h>

#include "launcher/session.h"
#include "runtime/data/sequence_dataset.h"

namespace tradewind::launcher {
namespace {

using models::DataKind;
using runtime::Part;

constexpr const char* kItems = "vocabulary.items";

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
  const auto negatives = config.model->negatives();
  return std::make_shared<runtime::SequenceDataset>(
      interactions, runtime::SequenceOptions{.context = config.model->context(),
                                             .negatives = negatives.count,
                                             .shared_negatives = negatives.shared,
                                             .seed = static_cast<std::uint64_t>(config.run.seed),
                                             .targets = config.model->targets()});
}

RunData load_interactions(const RunConfig& config, const runtime::Checkpoint* kept) {
  const auto items = kept == nullptr ? nullptr : item_vocabulary_of(*kept);
  const auto interactions = std::make_shared<const runtime::Interactions>(
      runtime::load_interactions(config.interactions, static_cast<std::uint64_t>(config.run.seed), nullptr, items.get()));
  const std::int64_t context = config.model->context();
  RunData out;
  if (!config.model->fitted()) out.train = training_samples(config, interactions);
  const auto held_out =
      std::make_shared<runtime::HeldOut>(interactions, Part::kValidation, config.model->history(interactions->items->size()));
  if (held_out->size() > 0) out.validation = std::make_shared<models::RankingValidation>(held_out, ranking_options(config));
  out.inputs.vocabulary = interactions->items->size();
  out.checksum = interactions->checksum;
  out.source = config.interactions.path;
  out.summary = interactions->summary;
  if (out.train != nullptr)
    out.summary += fmt::format("\ntraining: {} {} with a history to learn from; validation: {}", out.train->samples_per_epoch(),
                               config.model->targets().prefixes ? "events" : "users", held_out->size());
  out.found = fmt::format("{} users, {} items, {} events", interactions->users->size(), interactions->items->size(),
                          interactions->item.size());
  out.sample = fmt::format("users' histories of up to {} items", context);
  out.state = {{"items", interactions->items->size()}};
  const std::string bytes = interactions->items->serialised();
  const runtime::Tensor vocabulary(runtime::host_allocator(), {static_cast<std::int64_t>(bytes.size())},
                                   runtime::DType::kUInt8);
  std::copy(bytes.begin(), bytes.end(), vocabulary.data<std::uint8_t>());
  out.tensors.push_back({.name = kItems, .data = vocabulary, .global_shape = vocabulary.shape()});
  out.interactions = interactions;
  return out;
}

}  // namespace

RunData load_run_data(const RunConfig& config, const runtime::Checkpoint* kept) {
  return config.model->data_kind() == DataKind::kText ? load_text(config, kept) : load_interactions(config, kept);
}

models::RankingOptions ranking_options(const RunConfig& config) {
  const auto& e = config.evaluate;
  return {.cutoffs = {e.cutoff},
          .leave_out_seen = e.seen_items == "leave_out",
          .best_by = e.best_by.empty() ? fmt::format("ndcg@{}", e.cutoff) : e.best_by};
}

std::shared_ptr<const runtime::Vocabulary> item_vocabulary_of(const runtime::Checkpoint& checkpoint) {
  if (!checkpoint.contains(kItems))
    throw CheckpointError(fmt::format("the checkpoint of step {} holds no names of items", checkpoint.step()));
  const std::int64_t size = checkpoint.shape(kItems).elements();
  std::string bytes(static_cast<std::size_t>(size), '\0');
  checkpoint.read(kItems, 0, size, runtime::DType::kUInt8, bytes.data());
  return std::make_shared<const runtime::Vocabulary>(
      runtime::Vocabulary::parse(bytes, fmt::format("the checkpoint of step {}", checkpoint.step())));
}

models::ModelInputs inputs_of(const RunConfig& config, const runtime::Checkpoint& checkpoint) {
  if (config.model->data_kind() == DataKind::kText) return {.vocabulary = tokenizer_of(checkpoint)->vocabulary_size()};
  return {.vocabulary = item_vocabulary_of(checkpoint)->size()};
}

}  // namespace tradewind::launcher
