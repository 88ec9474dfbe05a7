// A model as a Hugging Face directory holds it: its config.json and the names and layout of its tensors.
#pragma once

#include <cstdint>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

namespace tradewind::models {

/// One tensor of the directory and the parameter that it is.
struct HuggingFaceTensor {
  std::string ours;                 // "": a bias that this model does without, written as zeros
  std::string theirs;               // "transformer.h.0.attn.c_attn.weight"
  std::vector<std::int64_t> shape;  // theirs
  bool transposed = false;          // a matrix stored as [in, out]; ours are [out, in]
};

struct HuggingFaceForm {
  nlohmann::ordered_json config;  // config.json
  std::vector<HuggingFaceTensor> tensors;
  std::string prefix;                // that published files may leave out of the names, "transformer."
  std::vector<std::string> ignored;  // ends of names that hold nothing learned: masks that old files carry
  /// A tensor that such files may hold although it is another one again, and that one: {"lm_head.weight", "...wte.weight"}.
  std::vector<std::pair<std::string, std::string>> repeated;
};

}  // namespace tradewind::models
