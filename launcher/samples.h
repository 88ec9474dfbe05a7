// Texts from a trained run.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "launcher/session.h"
#include "models/language/generate.h"

namespace tradewind::launcher {

/// Where documents have an end, a prompt is the beginning of one; an empty prompt needs such an end to begin from
/// (ConfigError).
std::vector<std::int32_t> prompt_tokens(const LoadedRun& run, const std::string& prompt);

/// `count` texts that begin with `prompt`; where it is empty and the model knows no beginning of a document, after a line
/// break. The same seed gives the same texts. Throws ConfigError where the model generates no text.
std::vector<std::string> sample_texts(const LoadedRun& run, const std::string& prompt, std::int64_t count, std::uint64_t seed,
                                      models::GenerateOptions options);

}  // namespace tradewind::launcher
