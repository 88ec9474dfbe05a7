// A tokenizer as the files of a Hugging Face directory.
#pragma once

#include <filesystem>
#include <map>
#include <memory>
#include <string>

#include "runtime/text/tokenizer.h"

namespace tradewind::runtime {

/// The texts of the files, by name: tokenizer.json and tokenizer_config.json, which `AutoTokenizer.from_pretrained` reads and
/// which give the same ids; vocab.json and merges.txt where the tokenizer is of GPT-2's kind ("byte" is one without merges);
/// tradewind_tokenizer.json, which read_huggingface_tokenizer prefers. `context`: model_max_length.
std::map<std::string, std::string> huggingface_files(const Tokenizer& tokenizer, std::int64_t context);

/// The tokenizer of a directory. Throws ConfigError where there is none that we read, with the remedy; DataError where a file
/// is broken.
std::unique_ptr<Tokenizer> read_huggingface_tokenizer(const std::filesystem::path& directory);

}  // namespace tradewind::runtime
