// What a run directory says of its run, read without owning it: while it works, after it, or after it was killed.
#pragma once

#include <cstdint>
#include <filesystem>
#include <string>
#include <utility>
#include <vector>

namespace tradewind::runtime {

struct RunRecord {
  struct Step {
    std::int64_t step;
    double loss, rate, learning_rate, gradient_norm, seconds;  // rate: tokens or samples a second; seconds: since the start
    double memory;                                             // bytes; NaN where the line lacks it
    bool skipped;                                              // nothing was updated
  };
  struct Evaluated {
    std::int64_t step;
    double loss, perplexity, bits_per_byte;                    // NaN where the line lacks it
    std::vector<std::pair<std::string, double>> metrics = {};  // others, as "ndcg@10"
    std::string best_by = {};     // the one that tells the best, by being high; "": the loss, by being low
    std::int64_t candidates = 0;  // sampled ones that were ranked among; 0: all

    /// NaN where it was not measured.
    double metric(const std::string& name) const;
  };

  std::filesystem::path path;
  std::string state;    // "running", "stopped", "finished", "failed", or "unknown" where status.json cannot be read
  std::string version;  // of the program that wrote it last; "" where unknown
  std::int64_t step = 0;
  int exit_code = 0;
  double seconds = 0;
  std::string config;       // the resolved config as TOML
  std::string unit;         // "tokens/s" or "samples/s"
  std::vector<Step> steps;  // ascending, each step once: where the file goes back, what it says last counts
  std::vector<Evaluated> evaluations;
  std::vector<std::string> problems;  // lines that say nothing, files that are missing: what a report must not hide

  /// Middle one of the steps' rates, without the first three, which fill caches; 0 where there is none.
  double median_rate() const;
  /// Mean of the last `count` training losses; NaN where there is none.
  double last_loss(std::size_t count = 50) const;
  /// The largest memory of a step; 0 where none is known.
  double peak_memory() const;
  /// Steps that were skipped, or whose loss is not finite.
  std::int64_t bad_steps() const;
  /// The evaluation with the lowest loss or, where the last one says so, the highest metric; the first of equals; or null.
  const Evaluated* best() const;
};

/// Throws ConfigError, with the remedy, where `path` is no run directory, may not be read, or is a run of a newer version.
void require_run(const std::filesystem::path& path);

/// As require_run.
RunRecord read_run(const std::filesystem::path& path);

}  // namespace tradewind::runtime
