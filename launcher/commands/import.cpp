#include <fmt/format.h>

#include <cstdio>
#include <memory>

#include "launcher/command_line.h"
#include "launcher/commands/commands.h"
#include "launcher/huggingface.h"
#include "launcher/output.h"
#include "launcher/waiting.h"
#include "runtime/core/terminal.h"

namespace tradewind::launcher {
namespace {

const char* const kHelp = R"(A model from a Hugging Face directory, as a run of 0 steps.

usage: tradewind import DIR --to RUN [--tokenizer auto|byte] [--json]

  DIR              a directory with config.json and model.safetensors (or its
                   shards), of a type that this version has: gpt2
  --to RUN         the run directory to make
  --tokenizer T    auto: the one in DIR (default); byte: ids 0 to 255 are
                   bytes, 256 the end of a text
  --json           print one JSON object: what was read

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
  bool json = false;
  line.positional("DIR", directory);
  line.option("--to", to);
  line.option("--tokenizer", tokenizer);
  line.flag("--json", json);
  line.parse(arguments, 1);
  if (to.empty()) line.complain("--to is missing: where shall the run go, as in --to runs/gpt2");
  if (tokenizer != "auto" && tokenizer != "byte") line.complain("--tokenizer " + tokenizer + ": give auto or byte");
  auto waiting = std::make_unique<Waiting>("importing");
  const ImportedModel made = import_huggingface(directory, to, tokenizer, registry);
  waiting.reset();
  if (json)
    print_json({{"path", to},
                {"model", made.model},
                {"parameters", made.parameters},
                {"tensors", made.tensors},
                {"tokenizer", made.tokenizer},
                {"vocabulary", made.vocabulary}});
  else
    runtime::say(stdout,
                 fmt::format("{}: {} with {:.2f} M parameters in {} tensors, {} tokenizer of {} tokens", to, made.model,
                             static_cast<double>(made.parameters) / 1e6, made.tensors, made.tokenizer, made.vocabulary));
  return 0;
}

}  // namespace tradewind::launcher
