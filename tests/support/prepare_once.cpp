// prepare_once FOLDER TOKENIZER: prepares FOLDER/text.txt (and FOLDER/other.txt) into FOLDER/out/data.h5 in small batches, so
// that a test can end it between any two of them. Exit codes as the program's; 75 is never given, as nobody asks it to stop.
#include <cstdio>
#include <cstdlib>
#include <exception>
#include <filesystem>
#include <string>

#include "kernels/base/error.h"
#include "runtime/data/prepare.h"

namespace {

class Silent final : public tradewind::runtime::PrepareObserver {
 public:
  void on_progress(const std::string&, std::uint64_t, std::uint64_t) override {}
  void on_note(const std::string&) override {}
  bool stop_requested() override { return false; }
};

}  // namespace

int main(int count, char** arguments) {
  if (count != 3) return 2;
  const std::string folder = arguments[1], tokenizer = arguments[2];
  try {
    const tradewind::runtime::DataConfig config{.path = folder + "/text.txt",
                                                .validation_path = folder + "/other.txt",
                                                .documents = "blank_line",
                                                .tokenizer = tokenizer};
    std::filesystem::create_directories(folder + "/out");
    Silent observer;
    const auto outcome = tradewind::runtime::prepare_text(config,
                                                          {.to = folder + "/out/data.h5",
                                                           .vocabulary_size = tokenizer == "bpe" ? 300 : 0,
                                                           .threads = 1,
                                                           .fresh = false,
                                                           .piece_bytes = 700,
                                                           .batch_pieces = 3},
                                                          observer);
    std::puts(outcome == tradewind::runtime::Prepared::kBefore ? "before" : "now");
    return 0;
  } catch (const tradewind::Error& e) {
    std::fprintf(stderr, "error: %s\n", e.what());
    return static_cast<int>(e.code());
  } catch (const std::exception& e) {
    std::fprintf(stderr, "error: %s\n", e.what());
    return 70;
  }
}
