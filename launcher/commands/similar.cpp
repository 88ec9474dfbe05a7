#include <fmt/format.h>

#include <cstdio>
#include <nlohmann/json.hpp>

#include "launcher/command_line.h"
#include "launcher/commands/commands.h"
#include "launcher/output.h"
#include "launcher/session.h"
#include "launcher/waiting.h"
#include "models/recommend/serve.h"
#include "runtime/config/config.h"
#include "runtime/data/csv.h"

namespace tradewind::launcher {
namespace {

const char* const kHelp = R"(The items most like an item: those whose vectors point the same way (cosine),
or, of item_knn, its neighbours, which the same users had (similarity: of the
users of both, with model.shrink), and no others.

usage: tradewind similar RUN --item ID [--top N] [--json]
                         [--checkpoint best|last|STEP]

  RUN             a run of a recommender
  --item ID       an item, by the id that the shop's data has for it
  --top N         how many (default 10)
  --checkpoint C  best (default where the run was evaluated), last, or a step
  --json          print one JSON object, which says what the likeness is; else a
                  CSV: rank,item,cosine, or of item_knn rank,item,similarity

examples:
  tradewind similar runs/sasrec-shop --item SKU-1007
  tradewind similar runs/sasrec-shop --item SKU-1007 --top 3 --json
)";

std::int32_t item_of(const runtime::Vocabulary& items, const std::string& id) {
  const std::int32_t found = items.find(id);
  if (found >= 0) return found;
  std::vector<std::string> names;
  if (items.size() <= 100000)
    for (std::int32_t i = 0; i < items.size(); ++i) names.emplace_back(items.name(i));
  throw DataError(
      fmt::format("the run knows no item \"{}\"{}", id, runtime::suggestion_text(runtime::did_you_mean(id, names))));
}

}  // namespace

int run_similar(const Arguments& arguments, const models::Registry& registry) {
  CommandLine line("similar", kHelp);
  std::string run, id, which;
  std::int64_t top = 10;
  bool json = false;
  line.positional("RUN", run);
  line.option("--item", id);
  line.option("--top", top);
  line.option("--checkpoint", which);
  line.flag("--json", json);
  line.parse(arguments, 1);
  if (id.empty()) line.complain("--item is missing: like which item?");
  if (top < 1) line.complain("--top must be at least 1");
  auto waiting = std::make_unique<Waiting>("loading the checkpoint");
  const LoadedRun loaded = load_run(run, which.empty() ? best_or_last(run) : which, {}, registry);
  models::Ranker& model = loaded.ranker();
  const auto [best, name, meaning] =
      models::similar_items(*loaded.context, model, item_of(*loaded.items, id), top, loaded.items->candidates());
  waiting.reset();
  if (best.empty()) warn(fmt::format("no item is like \"{}\" to this model", id));
  if (json) {
    nlohmann::ordered_json out = {
        {"item", id}, {"likeness", name}, {"meaning", meaning}, {"similar", nlohmann::ordered_json::array()}};
    for (const auto& [item, score] : best)
      out["similar"].push_back({{"item", std::string(loaded.items->name(item))}, {name, score}});
    print_json(out);
    return 0;
  }
  std::printf("rank,item,%s\n", name.c_str());
  for (std::size_t r = 0; r < best.size(); ++r)
    std::printf("%zu,%s,%.6f\n", r + 1, runtime::csv_field(loaded.items->name(best[r].item)).c_str(),
                static_cast<double>(best[r].score));
  return 0;
}

}  // namespace tradewind::launcher
