#include <fmt/format.h>

#include <cstdio>

#include "launcher/command_line.h"
#include "launcher/commands/commands.h"
#include "launcher/output.h"
#include "runtime/core/terminal.h"
#include "runtime/data/product_copy.h"
#include "runtime/train/run_directory.h"

namespace tradewind::launcher {
namespace {

const char* const kHelp = R"(Write made-up product copy: a text to try training on.

usage: tradewind demo-text [--to FILE] [--documents N] [--seed S] [--json]

  --to FILE      where to; printed where it is left out
  --documents N  product descriptions of about 360 bytes each (default 3000)
  --seed S       another seed, another text (default 1)
  --json         with --to: print one JSON object about what was written

example:
  tradewind demo-text --to copy.txt --documents 5000
)";

int demo_text(const std::filesystem::path& to, std::int64_t documents, std::uint64_t seed, bool json) {
  const std::string text = runtime::product_copy(seed, documents);
  if (to.empty()) {
    std::fwrite(text.data(), 1, text.size(), stdout);
    return 0;
  }
  std::error_code error;
  if (to.has_parent_path()) std::filesystem::create_directories(to.parent_path(), error);
  if (error) throw ConfigError("cannot create " + to.parent_path().string() + ": " + error.message());
  runtime::write_file_whole(to, text);
  if (json)
    print_json({{"path", to.string()}, {"documents", documents}, {"bytes", text.size()}, {"seed", seed}});
  else
    runtime::say(stdout, fmt::format("{}: {} product descriptions, {} bytes", to.string(), documents, text.size()));
  return 0;
}

}  // namespace

int run_demo_text(const Arguments& arguments, const models::Registry&) {
  CommandLine line("demo-text", kHelp);
  std::string to;
  std::int64_t documents = 3000;
  std::uint64_t seed = 1;
  bool json = false;
  line.option("--to", to);
  line.option("--documents", documents);
  line.seed(seed);
  line.flag("--json", json);
  line.parse(arguments, 0);
  if (documents < 1) line.complain("--documents must be at least 1");
  if (json && to.empty()) line.complain("--json goes with --to FILE; without it the text itself is printed");
  return demo_text(to, documents, seed, json);
}

}  // namespace tradewind::launcher
