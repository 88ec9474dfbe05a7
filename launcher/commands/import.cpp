#include <cstdio>

#include "launcher/command_line.h"
#include "launcher/commands/commands.h"
#include "launcher/huggingface.h"
#include "launcher/waiting.h"

namespace tradewind::launcher {
namespace {

const char* const kHelp = R"(A model from a Hugging Face directory, as a run of 0 steps.

usage: tradewind import DIR --to RUN [--tokenizer auto|byte]

  DIR              a directory with config.json and model.safetensors (or its
                   shards), of a type that this version has: gpt2
  --to RUN         the run directory to make
  --tokenizer T    auto: the one in DIR (default); byte: ids 0 to 255 are
                   bytes, 256 the end of a text

The run can be evaluated, can generate, can be exported again, and another run
can begin with it: tradewind train RECIPE --set run.from=RUN

examples:
  tradewind import gpt2 --to runs/gpt2
  tradewind generate runs/gpt2 --prompt "Soft towels"
)";

}  // namespace

int run_import(const Arguments& arguments, const models::Registry& registry) {
  CommandLine line("import", kHelp);
  std::string directory, to, tokenizer = "auto";
  line.positional("DIR", directory);
  line.option("--to", to);
  line.option("--tokenizer", tokenizer);
  line.parse(arguments, 1);
  if (to.empty()) line.complain("--to is missing: where shall the run go, as in --to runs/gpt2");
  if (tokenizer != "auto" && tokenizer != "byte") line.complain("--tokenizer " + tokenizer + ": give auto or byte");
  auto waiting = std::make_unique<Waiting>("importing");
  const std::string done = import_huggingface(directory, to, tokenizer, registry);
  waiting.reset();
  std::printf("%s\n", done.c_str());
  return 0;
}

}  // namespace tradewind::launcher
