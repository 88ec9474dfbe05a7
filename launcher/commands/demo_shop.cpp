#include <fmt/format.h>

#include <cstdio>
#include <filesystem>

#include "launcher/command_line.h"
#include "launcher/commands/commands.h"
#include "launcher/output.h"
#include "runtime/core/context.h"
#include "runtime/core/terminal.h"
#include "runtime/data/shop/shop.h"

namespace tradewind::launcher {
namespace {

const char* const kHelp = R"(Write a made-up shop whose truth is known: a log to try recommenders on.

usage: tradewind demo-shop DIR [--users N] [--items M] [--days D] [--views V]
           [--seed S] [--threads T] [--json]

  DIR          a folder that is not there yet, or empty
  --users N    customers (default 6000)
  --items M    goods, at least 250 (default 1000)
  --days D     how long the shop is watched (default 360)
  --views V    goods that a customer looks at in all that time, about, at
               most half of them (default 60)
  --seed S     another seed, another shop (default 1)
  --threads T  default: all cores; they do not change a byte
  --json       print one JSON object about what was written

It has items.csv (titles and descriptions in English and Chinese),
users.csv, events.csv (view, cart, buy, rate, return), impressions.csv,
promotions.csv, reviews.jsonl, questions.jsonl and searches.jsonl, in order
of time, and in truth/ what made them so.

examples:
  tradewind demo-shop shop
  tradewind demo-shop big --users 100000 --items 20000 --seed 2
)";

int demo_shop(const std::filesystem::path& folder, const runtime::ShopOptions& options, bool json) {
  std::error_code error;
  if (std::filesystem::exists(folder, error) &&
      (!std::filesystem::is_directory(folder, error) || !std::filesystem::is_empty(folder, error)))
    throw ConfigError(folder.string() + " is there and not an empty folder; name another, or remove it first");
  // Under another name until it is whole: what is called DIR is never half a shop.
  const std::filesystem::path partial = (folder.has_filename() ? folder : folder.parent_path()).string() + ".partial";
  const runtime::ShopCounts counts = runtime::write_demo_shop(partial, options);
  std::filesystem::rename(partial, folder, error);
  if (error) throw DataError("cannot rename " + partial.string() + " to " + folder.string() + ": " + error.message());
  if (json)
    print_json({{"path", folder.string()},
                {"users", options.users},
                {"items", options.items},
                {"days", options.days},
                {"seed", options.seed},
                {"events", counts.events},
                {"views", counts.views},
                {"impressions", counts.impressions},
                {"promotions", counts.promotions},
                {"reviews", counts.reviews},
                {"questions", counts.questions},
                {"searches", counts.searches}});
  else
    runtime::say(
        stdout,
        fmt::format("{}: {} events, {} of them views, of {} users and {} items in {} days; {} impressions, {} promotions, "
                    "{} reviews, {} questions, {} searches",
                    folder.string(), counts.events, counts.views, options.users, options.items, options.days,
                    counts.impressions, counts.promotions, counts.reviews, counts.questions, counts.searches));
  return 0;
}

}  // namespace

int run_demo_shop(const Arguments& arguments, const models::Registry&) {
  CommandLine line("demo-shop", kHelp);
  std::string folder;
  runtime::ShopOptions options;
  std::int64_t threads = runtime::available_cores();
  bool json = false;
  line.positional("DIR", folder);
  line.option("--users", options.users);
  line.option("--items", options.items);
  line.option("--days", options.days);
  line.option("--views", options.views);
  line.seed(options.seed);
  line.option("--threads", threads);
  line.flag("--json", json);
  line.parse(arguments, 1);
  const auto within = [&](const char* name, std::int64_t value, std::int64_t least, std::int64_t most) {
    if (value < least || value > most) line.complain(fmt::format("{} must lie between {} and {}", name, least, most));
  };
  within("--users", options.users, 1, 10'000'000);
  within("--items", options.items, runtime::kLeastItems, 10'000'000);
  within("--days", options.days, 1, 3650);
  within("--threads", threads, 1, 1024);
  const auto most_views = static_cast<double>(options.items) / 2;
  if (!(options.views >= 1 && options.views <= most_views))
    line.complain(fmt::format("--views must lie between 1 and half the items, {:g}", most_views));
  options.threads = static_cast<int>(threads);
  return demo_shop(folder, options, json);
}

}  // namespace tradewind::launcher
