// Hugging Face's GPT-2 with random weights (tests/golden/gpt2-tiny) as our GPT, on any device, and the batch of its golden
// values.
#pragma once

#include <fstream>
#include <nlohmann/json.hpp>

#include "runtime/core/transfer.h"
#include "tests/models/gpt_fixture.h"
#include "tests/support/safetensors.h"

namespace tradewind::tests {

inline models::GptConfig golden_config() {
  models::GptConfig c;
  c.layers = 2;
  c.heads = 4;
  c.channels = 64;
  c.context_length = 64;
  return c;
}

inline nlohmann::json expected() {
  std::ifstream in(golden_path("gpt2-tiny/expected.json"));
  return nlohmann::json::parse(in);
}

/// Hugging Face's name of our parameter, and whether its matrix is stored as (in, out), the transpose of ours.
inline std::pair<std::string, bool> upstream_name(const std::string& name) {
  if (name == "token_embedding.weight") return {"transformer.wte.weight", false};
  if (name == "position_embedding.weight") return {"transformer.wpe.weight", false};
  if (name.starts_with("norm.")) return {"transformer.ln_f." + name.substr(5), false};
  const auto dot = name.find('.', 7);  // behind "blocks.N"
  const std::string prefix = "transformer.h." + name.substr(7, dot - 7) + ".", rest = name.substr(dot + 1);
  const bool weight = rest.ends_with(".weight");
  const std::string leaf = weight ? ".weight" : ".bias";
  if (rest.starts_with("norm1")) return {prefix + "ln_1" + leaf, false};
  if (rest.starts_with("norm2")) return {prefix + "ln_2" + leaf, false};
  if (rest.starts_with("attention.qkv")) return {prefix + "attn.c_attn" + leaf, weight};
  if (rest.starts_with("attention.out")) return {prefix + "attn.c_proj" + leaf, weight};
  if (rest.starts_with("mlp.up")) return {prefix + "mlp.c_fc" + leaf, weight};
  return {prefix + "mlp.c_proj" + leaf, weight};
}

/// The golden tensor of our parameter, in our layout.
inline std::vector<float> golden_value(const GoldenTensors& file, const runtime::Parameter& p) {
  const auto [name, transposed] = upstream_name(p.name());
  const auto& values = file[name].values;
  BOOST_REQUIRE_EQUAL(static_cast<std::int64_t>(values.size()), p.shape().elements());
  if (!transposed) return values;
  const auto out = static_cast<std::size_t>(p.shape()[0]), in = static_cast<std::size_t>(p.shape()[1]);
  std::vector<float> result(values.size());
  for (std::size_t o = 0; o < out; ++o)
    for (std::size_t i = 0; i < in; ++i) result[o * in + i] = values[i * out + o];
  return result;
}

struct Golden : GptFixture {
  explicit Golden(kernels::Device device = {}, kernels::DType compute = kernels::DType::kFloat32)
      : GptFixture(golden_config(), 257, 2, 1, device, compute) {
    const GoldenTensors weights(golden_path("gpt2-tiny/model.safetensors"));
    for (const auto& p : model.parameters().parameters()) copy_from_host(p->value(), golden_value(weights, *p).data());
    model.parameters().refresh_copies(context);
  }
};

inline std::vector<std::vector<std::int32_t>> rows_of(const GoldenTensor& tensor) {
  const auto T = static_cast<std::ptrdiff_t>(tensor.shape[1]);
  std::vector<std::vector<std::int32_t>> out;
  for (std::ptrdiff_t b = 0; b < tensor.shape[0]; ++b)
    out.emplace_back(tensor.ints.begin() + b * T, tensor.ints.begin() + (b + 1) * T);
  return out;
}

/// Hugging Face shifts the labels inside the loss: position t predicts label t + 1, the last predicts nothing.
inline runtime::Batch golden_batch() {
  const GoldenTensors file(golden_path("gpt2-tiny/batch.safetensors"));
  std::vector<std::int32_t> targets;
  for (auto labels : rows_of(file["labels"])) {
    labels.erase(labels.begin());
    labels.push_back(-100);
    targets.insert(targets.end(), labels.begin(), labels.end());
  }
  return with_targets(models::token_rows(rows_of(file["input_ids"]), {0, 0}), targets);
}

}  // namespace tradewind::tests
