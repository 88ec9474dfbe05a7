#include "launcher/run_summary.h"

#include <cmath>

#include "runtime/config/config.h"

namespace tradewind::launcher {

using nlohmann::ordered_json;
using runtime::RunRecord;

namespace {

ordered_json number(double x) { return std::isfinite(x) ? ordered_json(x) : ordered_json(nullptr); }

}  // namespace

ordered_json run_summary(const RunRecord& run) {
  const auto* best = run.best();
  const ordered_json none(nullptr);
  return {{"run", run.path.string()},
          {"state", run.state},
          {"steps", run.steps.empty() ? 0 : run.steps.back().step},
          {"training_loss", number(run.last_loss())},
          {"validation_loss", run.evaluations.empty() ? none : number(run.evaluations.back().loss)},
          {"best_validation_loss", best == nullptr ? none : number(best->loss)},
          {"best_step", best == nullptr ? none : ordered_json(best->step)},
          {"perplexity", best == nullptr ? none : number(best->perplexity)},
          {"bits_per_byte", best == nullptr ? none : number(best->bits_per_byte)},
          {"best_by", best == nullptr || best->best_by.empty() ? none : ordered_json(best->best_by)},
          {"best_metric", best == nullptr || best->best_by.empty() ? none : number(best->metric(best->best_by))},
          {"sampled_candidates", best == nullptr || best->candidates == 0 ? none : ordered_json(best->candidates)},
          {"rate", run.median_rate()},
          {"rate_unit", run.unit},
          {"seconds", run.steps.empty() ? 0.0 : run.steps.back().seconds},
          {"peak_memory_bytes", run.peak_memory() > 0 ? ordered_json(run.peak_memory()) : none},
          {"bad_steps", run.bad_steps()},
          {"problems", run.problems}};
}

ordered_json config_differences(const std::vector<RunRecord>& runs) {
  ordered_json out = ordered_json::array();
  const auto file = [](const RunRecord& run) { return (run.path / "config.toml").string(); };
  runtime::compare_configs(runs[0].config, runs[0].config, file(runs[0]));  // an error below is then the other file's
  for (std::size_t r = 1; r < runs.size(); ++r)
    for (const auto& d : runtime::compare_configs(runs[0].config, runs[r].config, file(runs[r])))
      if (d.key != "run.directory")
        out.push_back({{"key", d.key}, {"run", runs[r].path.string()}, {"first", d.before}, {"here", d.after}});
  return out;
}

}  // namespace tradewind::launcher
