#include <cstdio>

#include "launcher/command_line.h"
#include "launcher/commands/commands.h"
#include "runtime/data/product_copy.h"
#include "runtime/train/run_directory.h"

namespace tradewind::launcher {
namespace {

const char* const kHelp = R"(Write made-up product copy: a text to try training on.

usage: tradewind demo-text [--to FILE] [--documents N] [--seed S]

  --to FILE      where to; printed where it is left out
  --documents N  product descriptions of about 360 bytes each (default 3000)
  --seed S       another seed, another text (default 1)

example:
  tradewind demo-text --to copy.txt --documents 5000
)";

int demo_text(const std::filesystem::path& to, std::int64_t documents, std::uint64_t seed) {
  const std::string text = runtime::product_copy(seed, documents);
  if (to.empty()) {
    std::fwrite(text.data(), 1, text.size(), stdout);
    return 0;
  }
  std::error_code error;
  if (to.has_parent_path()) std::filesystem::create_directories(to.parent_path(), error);
  if (error) throw ConfigError("cannot create " + to.parent_path().string() + ": " + error.message());
  runtime::write_file_whole(to, text);
  std::printf("%s: %lld product descriptions, %zu bytes\n", to.c_str(), static_cast<long long>(documents), text.size());
  return 0;
}

}  // namespace

int run_demo_text(const Arguments& arguments, const models::Registry&) {
  CommandLine line("demo-text", kHelp);
  std::string to;
  std::int64_t documents = 3000;
  std::uint64_t seed = 1;
  line.option("--to", to);
  line.option("--documents", documents);
  line.seed(seed);
  line.parse(arguments, 0);
  if (documents < 1) line.complain("--documents must be at least 1");
  return demo_text(to, documents, seed);
}

}  // namespace tradewind::launcher
