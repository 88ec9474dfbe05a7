// Every document of a text looked at before anything is trained on it.
#pragma once

#include "runtime/data/check_report.h"
#include "runtime/data/text_dataset.h"

namespace tradewind::runtime {

/// Reads data.path and data.validation_path as training does, by the same code, and of JSON lines and CSV goes on behind
/// documents that cannot be read. Throws ConfigError where data.path is empty.
CheckReport check_text(const DataConfig& config, std::size_t examples = 5);

}  // namespace tradewind::runtime
