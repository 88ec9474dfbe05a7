// A model of one's own, outside Tradewind's tree: a binary that has every verb of `tradewind` and one model more.
//
// "shopgram" predicts the next token from the last one: x = norm(embedding(token)), x += mlp(x), then the loss over the
// vocabulary. Read it beside models/README.md.
#include <memory>

#include "launcher/run.h"
#include "models/registry.h"
#include "runtime/nn/layers.h"
#include "runtime/ops/linear_cross_entropy.h"

namespace {

using namespace tradewind;  // NOLINT: a model is written in the runtime's terms

class Shopgram final : public runtime::Task {
 public:
  Shopgram(std::int64_t vocabulary, std::int64_t channels, std::int64_t context)
      : vocabulary_(vocabulary), channels_(channels), context_(context) {
    tokens_ = &store_.add("token_embedding.weight", {vocabulary, channels}, runtime::Init::normal(0.1F), true);
    norm_ = runtime::NormLayer::make(store_, "norm", channels, {}, true);
    mlp_ = runtime::MlpLayer::make(store_, "mlp", channels, 2 * channels, true, kernels::Activation::kSilu, false, 0.1F, 0.1F);
    head_ = &store_.add("head.weight", {vocabulary, channels}, runtime::Init::normal(0.1F), true);
  }

  runtime::ParameterStore& parameters() override { return store_; }

  runtime::RowLosses forward(runtime::Tape& tape, const runtime::Batch& batch) override {
    const auto x = norm_(tape, runtime::embedding(tape, *tokens_, batch["ids"]));
    return runtime::linear_cross_entropy(tape, mlp_(tape, x), *head_, nullptr, batch["targets"], {});
  }

  runtime::CostEstimate cost() const override {
    const auto C = static_cast<double>(channels_), V = static_cast<double>(vocabulary_);
    return {.flops_per_row = 2 * 4 * C * C,
            .flops_per_target = 2 * C * V,
            .sample = {.rows = context_, .pairs = context_ * context_, .targets = context_},
            .activation_bytes_per_sample = 4 * context_ * 6 * channels_};
  }

 private:
  std::int64_t vocabulary_, channels_, context_;
  runtime::ParameterStore store_;
  runtime::Parameter *tokens_, *head_;
  runtime::NormLayer norm_;
  runtime::MlpLayer mlp_;
};

class ShopgramConfig final : public models::ModelConfig {
 public:
  void describe(runtime::Fields& f) override {
    f.field("channels", channels, "Width.", {.min = 1});
    f.field("context", context_length, "Tokens in a block.", {.min = 1});
  }
  void check() const override {}
  std::int64_t context() const override { return context_length; }
  std::unique_ptr<runtime::Task> build(const models::ModelInputs& inputs) const override {
    return std::make_unique<Shopgram>(inputs.vocabulary, channels, context_length);
  }

 private:
  std::int64_t channels = 32, context_length = 32;
};

}  // namespace

int main(int argc, char** argv) {
  models::Registry registry = models::builtin_registry();
  registry.add({"shopgram", "Next token from the last one.", [] { return std::make_unique<ShopgramConfig>(); }});
  return launcher::run(argc, argv, registry);
}
