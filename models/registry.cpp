#include "models/registry.h"

#include "models/language/gpt.h"
#include "models/recommend/bert4rec.h"
#include "models/recommend/bpr_mf.h"
#include "models/recommend/hstu.h"
#include "models/recommend/item_knn.h"
#include "models/recommend/linear.h"
#include "models/recommend/popularity.h"
#include "models/recommend/recurrent.h"
#include "models/recommend/sasrec.h"
#include "models/recommend/two_tower.h"
#include "runtime/config/config.h"

namespace tradewind::models {

const ModelEntry& Registry::find(const std::string& name) const {
  std::vector<std::string> names;
  for (const auto& entry : entries_) {
    if (entry.name == name) return entry;
    names.push_back(entry.name);
  }
  const auto near = runtime::did_you_mean(name, names);
  std::string known;
  for (const auto& n : names) known += (known.empty() ? "\"" : ", \"") + n + "\"";
  throw ConfigError("model.name: there is no model \"" + name + "\"" +
                    (near.empty() ? "; there are " + known : "; did you mean \"" + near + "\"?"));
}

const ModelEntry& Registry::find_huggingface(const std::string& type) const {
  std::string known;
  for (const auto& entry : entries_) {
    if (entry.huggingface_type.empty()) continue;
    if (entry.huggingface_type == type) return entry;
    known += (known.empty() ? "\"" : ", \"") + entry.huggingface_type + "\"";
  }
  throw ConfigError("config.json: a model of type \"" + type + "\" cannot be read by this version; it reads " +
                    (known.empty() ? "none" : known));
}

HuggingFaceForm ModelConfig::huggingface(std::int64_t /*vocabulary*/) const {
  throw ConfigError("this model has no Hugging Face form; export it as HDF5");
}

Registry builtin_registry() {
  Registry registry;
  registry.add({"gpt", "Causal language model (GPT-2's layout, or with rotary positions, RMS norm, gated feed-forward).",
                [] { return std::make_unique<GptConfig>(); }, "gpt2", gpt_from_huggingface});
  registry.add({"popularity", "The same items for everybody: what is bought most.",
                [] { return std::make_unique<PopularityConfig>(); }});
  registry.add({"item_knn", "Items that the same users had as those of a history (nearest neighbours by cosine).",
                [] { return std::make_unique<ItemKnnConfig>(); }});
  registry.add({"bpr", "Matrix factorisation: a vector a user and a vector an item (Bayesian personalised ranking).",
                [] { return std::make_unique<BprConfig>(); }});
  registry.add({"linear", "The bag of a history's items, a linear layer and a softmax over the catalogue.",
                [] { return std::make_unique<LinearConfig>(); }});
  registry.add({"sasrec", "Next item of a user's history (self-attentive sequential recommendation).",
                [] { return std::make_unique<SasRecConfig>(); }});
  registry.add({"gru4rec", "Next item of a user's history (a recurrent network of gated units).",
                [] { return std::make_unique<RecurrentConfig>(kernels::RecurrentKind::kGru); }});
  registry.add({"lstm", "Next item of a user's history (a recurrent network with long short-term memory).",
                [] { return std::make_unique<RecurrentConfig>(kernels::RecurrentKind::kLstm); }});
  registry.add({"bert4rec", "Hidden items of a user's history, and so the next one (bidirectional transformer).",
                [] { return std::make_unique<Bert4RecConfig>(); }});
  registry.add({"hstu", "Next item of a user's history by pointwise attention, which may know when things happened (HSTU).",
                [] { return std::make_unique<HstuConfig>(); }});
  registry.add({"two_tower", "Items and histories as vectors of two networks, by ids and attributes (two-tower retrieval).",
                [] { return std::make_unique<TwoTowerConfig>(); }});
  return registry;
}

}  // namespace tradewind::models
