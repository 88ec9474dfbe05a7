// What runs came to and what sets their configs apart: for `compare` and `report`.
#pragma once

#include <nlohmann/json.hpp>
#include <vector>

#include "runtime/train/run_record.h"

namespace tradewind::launcher {

/// run, state, steps, training_loss (mean of the last 50 steps), validation_loss (the last), best_validation_loss, best_step,
/// perplexity and bits_per_byte (of the best evaluation, RunRecord::best), best_by and best_metric (which metric tells the
/// best, and its value; null where the loss does), sampled_candidates (null where the ranking was among all), rate (median),
/// rate_unit, seconds, peak_memory_bytes, bad_steps, problems. What is not known or not finite is null.
nlohmann::ordered_json run_summary(const runtime::RunRecord& run);

/// Of every run against the first: {key, run (path), first, here}; "(absent)" where one lacks the key. Where a run lies is no
/// difference. Throws ConfigError where a config does not parse.
nlohmann::ordered_json config_differences(const std::vector<runtime::RunRecord>& runs);

}  // namespace tradewind::launcher
