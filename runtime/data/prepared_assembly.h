// What `prepare` does last with a text: its finished stage becomes the prepared file.
#pragma once

#include <cstdint>
#include <filesystem>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "runtime/data/prepared_stage.h"
#include "runtime/data/reader.h"
#include "runtime/text/tokenizer.h"

namespace tradewind::runtime {

/// A text that becomes a part of the prepared file, in the order of the stage's parts.
struct PreparedSource {
  std::string part, key, path;
  ReadOptions options;
  std::uint64_t file_bytes = 0;
  std::int64_t modified = 0;  // nanoseconds
};

/// Writes the file under a temporary name in the stage's folder, reads it again, gives it the name `to` and removes the stage.
/// `key`: what the result depends on. Returns a line about it. Throws DataError, where the disk is full too: the stage stays.
std::string put_together(PreparedStage& stage, const std::vector<PreparedSource>& sources, const nlohmann::json& key,
                         const Tokenizer& tokenizer, const std::filesystem::path& to);

}  // namespace tradewind::runtime
