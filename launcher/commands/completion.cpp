#include "launcher/completion.h"

#include "launcher/commands/commands.h"

namespace tradewind::launcher {
namespace {

const char* const kHelp = R"(What makes a shell complete verbs, options, files and config keys.

usage: tradewind completion bash|zsh|fish

`cmake --install` puts the scripts where shells look for them. For one session:

examples:
  source <(tradewind completion bash)
  source <(tradewind completion zsh)
  tradewind completion fish | source
)";

}  // namespace

int run_completion(const Arguments& arguments, const models::Registry& registry) {
  CommandLine line("completion", kHelp);
  std::string shell;
  line.positional("SHELL", shell);
  line.parse(arguments, 1);
  if (shell == "bash") print_and_leave(bash_completion(completion_source(registry)));
  if (shell == "zsh") print_and_leave(zsh_completion(completion_source(registry)));
  if (shell == "fish") print_and_leave(fish_completion(completion_source(registry)));
  line.complain("there is no completion for \"" + shell + "\"; there is for bash, zsh and fish");
}

}  // namespace tradewind::launcher
