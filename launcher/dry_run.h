// `train --dry-run`: everything that can be found out before the first step.
#pragma once

#include <filesystem>
#include <string>
#include <vector>

#include "models/registry.h"

namespace tradewind::launcher {

/// Prints numbered checks, each with a tick or a cross: config, data, parameters, FLOPs, memory, disk, threads. Every check is
/// tried, whatever became of those before it, unless it needs what they found. Returns the exit code: 0, or that of the first
/// check that failed. `json`: one object in place of the list, {good, exit_code, checks: [{name, state, found}]}, where a state
/// is "good", "failed" or "not tried".
int dry_run(const std::filesystem::path& config, const std::vector<std::string>& overrides, const models::Registry& registry,
            bool json);

}  // namespace tradewind::launcher
