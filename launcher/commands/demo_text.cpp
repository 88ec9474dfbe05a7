#include <cstdio>

#include "launcher/commands/commands.h"
#include "runtime/data/product_copy.h"
#include "runtime/train/run_directory.h"

namespace tradewind::launcher {

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

}  // namespace tradewind::launcher
