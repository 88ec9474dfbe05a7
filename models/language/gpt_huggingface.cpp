// GPT in the layout of Hugging Face's GPT2LMHeadModel: config.json's keys, the tensors' names, and the Conv1D matrices, which
// are stored as [in, out] (transformers, models/gpt2/modeling_gpt2.py and configuration_gpt2.py).
#include <array>

#include "models/language/gpt.h"

namespace tradewind::models {

namespace {

struct ActivationName {
  const char *ours, *theirs;
};
constexpr std::array<ActivationName, 7> kActivations = {{{"gelu_tanh", "gelu_new"},
                                                         {"gelu_exact", "gelu"},
                                                         {"relu", "relu"},
                                                         {"silu", "silu"},
                                                         {"gelu_tanh", "gelu_pytorch_tanh"},
                                                         {"gelu_tanh", "gelu_fast"},
                                                         {"silu", "swish"}}};

[[noreturn]] void no_form(const std::string& key, const std::string& need) {
  throw ConfigError("a model with " + key + " has no GPT-2 layout, which needs " + need + "; export it as HDF5");
}

/// config.json's value, or `otherwise` where it is absent or null.
template <class T>
T value_of(const nlohmann::json& config, const char* key, T otherwise) {
  const auto found = config.find(key);
  if (found == config.end() || found->is_null()) return otherwise;
  try {
    return found->get<T>();
  } catch (const nlohmann::json::exception&) {
    throw ConfigError(std::string("config.json: ") + key + " is " + found->dump() + ", which is of another type than expected");
  }
}

std::int64_t size_of_key(const nlohmann::json& config, const char* key) {
  const auto value = value_of<std::int64_t>(config, key, 0);
  if (value < 1) throw ConfigError(std::string("config.json: ") + key + " is missing or not positive");
  return value;
}

void require_value(const nlohmann::json& config, const char* key, bool expected) {
  if (value_of(config, key, expected) != expected)
    throw ConfigError(std::string("config.json: ") + key + " = " + (expected ? "false" : "true") +
                      " changes the mathematics in a way that this version does not have");
}

}  // namespace

HuggingFaceForm GptConfig::huggingface(std::int64_t rows) const {
  check();
  if (position != "learned") no_form("model.position = \"" + position + "\"", "\"learned\"");
  if (norm != "layer_norm") no_form("model.norm = \"" + norm + "\"", "\"layer_norm\"");
  if (key_value_heads() != heads) no_form("fewer model.kv_heads than heads", "as many");
  const char* activation_name = nullptr;
  for (const auto& [ours, theirs] : kActivations)
    if (activation == ours && activation_name == nullptr) activation_name = theirs;
  if (activation_name == nullptr) no_form("model.activation = \"" + activation + "\"", "gelu, relu or silu");

  HuggingFaceForm form;
  form.config = {{"architectures", {"GPT2LMHeadModel"}},
                 {"model_type", "gpt2"},
                 {"activation_function", activation_name},
                 {"n_layer", layers},
                 {"n_head", heads},
                 {"n_embd", channels},
                 {"n_inner", hidden_size() == 4 * channels ? nlohmann::ordered_json() : nlohmann::ordered_json(hidden_size())},
                 {"n_positions", context_length},
                 {"vocab_size", rows},
                 {"layer_norm_epsilon", norm_epsilon},
                 {"initializer_range", init_deviation},
                 {"embd_pdrop", dropout},
                 {"attn_pdrop", dropout},
                 {"resid_pdrop", dropout},
                 {"scale_attn_weights", true},
                 {"scale_attn_by_inverse_layer_idx", false},
                 {"tie_word_embeddings", tied_head},
                 {"dtype", "float32"}};
  form.prefix = "transformer.";
  form.ignored = {".attn.bias", ".attn.masked_bias"};
  if (tied_head) form.repeated = {{"lm_head.weight", "transformer.wte.weight"}};

  const std::int64_t C = channels;
  const auto bias_of = [&](const std::string& ours) { return bias ? ours + ".bias" : std::string(); };
  const auto norm_of = [&](const std::string& ours, const std::string& theirs) {
    form.tensors.push_back({ours + ".weight", theirs + ".weight", {C}});
    form.tensors.push_back({bias_of(ours), theirs + ".bias", {C}});
  };
  const auto linear_of = [&](const std::string& ours, const std::string& theirs, std::int64_t in, std::int64_t out) {
    form.tensors.push_back({ours + ".weight", theirs + ".weight", {in, out}, true});
    form.tensors.push_back({bias_of(ours), theirs + ".bias", {out}});
  };
  form.tensors.push_back({"token_embedding.weight", "transformer.wte.weight", {rows, C}});
  form.tensors.push_back({"position_embedding.weight", "transformer.wpe.weight", {context_length, C}});
  for (std::int64_t i = 0; i < layers; ++i) {
    const std::string ours = "blocks." + std::to_string(i) + ".", theirs = "transformer.h." + std::to_string(i) + ".";
    norm_of(ours + "norm1", theirs + "ln_1");
    linear_of(ours + "attention.qkv", theirs + "attn.c_attn", C, 3 * C);
    linear_of(ours + "attention.out", theirs + "attn.c_proj", C, C);
    norm_of(ours + "norm2", theirs + "ln_2");
    linear_of(ours + "mlp.up", theirs + "mlp.c_fc", C, hidden_size());
    linear_of(ours + "mlp.down", theirs + "mlp.c_proj", hidden_size(), C);
  }
  norm_of("norm", "transformer.ln_f");
  if (!tied_head) form.tensors.push_back({"head.weight", "lm_head.weight", {rows, C}});
  return form;
}

std::unique_ptr<ModelConfig> gpt_from_huggingface(const nlohmann::json& config) {
  require_value(config, "scale_attn_weights", true);
  require_value(config, "scale_attn_by_inverse_layer_idx", false);
  require_value(config, "add_cross_attention", false);
  auto out = std::make_unique<GptConfig>();
  out->layers = size_of_key(config, "n_layer");
  out->heads = size_of_key(config, "n_head");
  out->channels = size_of_key(config, "n_embd");
  out->context_length = size_of_key(config, config.contains("n_positions") ? "n_positions" : "n_ctx");
  out->vocabulary = size_of_key(config, "vocab_size");
  const auto inner = value_of<std::int64_t>(config, "n_inner", 0);
  out->hidden = inner == 4 * out->channels ? 0 : inner;
  out->norm_epsilon = value_of(config, "layer_norm_epsilon", 1e-5);
  out->init_deviation = value_of(config, "initializer_range", 0.02);
  out->tied_head = value_of(config, "tie_word_embeddings", true);
  const auto activation = value_of<std::string>(config, "activation_function", "gelu_new");
  out->activation.clear();
  for (const auto& [ours, theirs] : kActivations)
    if (activation == theirs) out->activation = ours;
  if (out->activation.empty())
    throw ConfigError("config.json: activation_function \"" + activation + "\" is none that this version has");
  out->dropout = value_of(config, "resid_pdrop", 0.1);
  for (const char* key : {"embd_pdrop", "attn_pdrop"})
    if (value_of(config, key, 0.1) != out->dropout)
      throw ConfigError(std::string("config.json: ") + key +
                        " differs from resid_pdrop; this version has one rate for all three. "
                        "Make them equal (it matters in training alone)");
  out->check();
  return out;
}

}  // namespace tradewind::models
