// GPT: a causal transformer language model (Radford et al. 2019), with the options that later models made common.
#pragma once

#include <memory>
#include <string>

#include "models/language/language_model.h"
#include "models/registry.h"
#include "runtime/nn/transformer.h"
#include "runtime/ops/linear_cross_entropy.h"

namespace tradewind::models {

class GptConfig final : public ModelConfig {
 public:
  std::int64_t layers = 4, heads = 4, kv_heads = 0, channels = 128, hidden = 0, context_length = 64, vocabulary = 0;
  double dropout = 0.0;
  std::string position = "learned", norm = "layer_norm", activation = "gelu_tanh";
  bool bias = true, tied_head = true;
  double norm_epsilon = 1e-5, rope_theta = 10000.0, init_deviation = 0.02;

  void describe(runtime::Fields& f) override;
  void check() const override;
  std::int64_t context() const override { return context_length; }
  std::unique_ptr<runtime::Task> build(const ModelInputs& inputs) const override;
  /// GPT-2's layout. A model without biases is written with biases of 0.
  HuggingFaceForm huggingface(std::int64_t vocabulary) const override;

  std::int64_t key_value_heads() const { return kv_heads > 0 ? kv_heads : heads; }
  std::int64_t hidden_size() const { return hidden > 0 ? hidden : 4 * channels; }
  bool gated() const { return activation == "swiglu"; }
};

/// Hugging Face's GPT2Config. Throws ConfigError naming the key that is missing or that we have no counterpart of.
std::unique_ptr<ModelConfig> gpt_from_huggingface(const nlohmann::json& config);

class Gpt final : public LanguageModel {
 public:
  Gpt(const GptConfig& config, std::int64_t vocabulary);

  runtime::ParameterStore& parameters() override { return store_; }
  runtime::RowLosses forward(runtime::Tape& tape, const runtime::Batch& batch) override;
  runtime::CostEstimate cost() const override;
  std::int64_t vocabulary() const override { return vocabulary_; }
  std::int64_t context() const override { return config_.context_length; }
  runtime::Tensor logits(runtime::Context& context, const runtime::Batch& batch) override;
  std::unique_ptr<runtime::KvCache> make_cache(runtime::Context& context, std::int64_t sequences) const override;
  runtime::Tensor next_logits(runtime::Context& context, const runtime::Batch& batch, runtime::KvCache& cache) override;

  /// Losses of every row, [N] (runtime/ops/linear_cross_entropy.h).
  runtime::RowLosses row_losses(runtime::Tape& tape, const runtime::Batch& batch);

 private:
  runtime::Variable hidden(runtime::Tape& tape, const runtime::Batch& batch, runtime::KvCache* cache);
  runtime::Tensor head_logits(runtime::Context& context, const runtime::Tensor& x) const;

  GptConfig config_;
  std::int64_t vocabulary_;
  runtime::ParameterStore store_;
  runtime::Parameter* tokens_ = nullptr;
  runtime::Parameter* positions_ = nullptr;  // null with rotary positions
  runtime::Parameter* head_ = nullptr;       // tokens_ where tied
  runtime::Transformer blocks_;
};

}  // namespace tradewind::models
