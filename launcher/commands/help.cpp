#include <fmt/chrono.h>
#include <fmt/format.h>

#include <cstdlib>
#include <ctime>

#include "launcher/commands/commands.h"
#include "launcher/help.h"
#include "runtime/config/config.h"

namespace tradewind::launcher {
namespace {

const char* const kHelp = R"(The help of the program or of a verb, or the manual page.

usage: tradewind help [VERB] [--man]

  VERB   one of the verbs; the program's help where it is left out
  --man  print the manual page tradewind(1), of all verbs

examples:
  tradewind help train
  tradewind help --man | man -l -
)";

/// Of the build where that is to be reproducible (reproducible-builds.org/docs/source-date-epoch), else today.
std::string date() {
  const char* given = std::getenv("SOURCE_DATE_EPOCH");
  const std::time_t seconds = given != nullptr ? static_cast<std::time_t>(std::atoll(given)) : std::time(nullptr);
  return fmt::format("{:%Y-%m-%d}", fmt::gmtime(seconds));
}

}  // namespace

int run_help(const Arguments& arguments, const models::Registry& registry) {
  CommandLine line("help", kHelp);
  std::string name;
  bool man = false;
  line.positional("VERB", name);
  line.flag("--man", man);
  line.parse(arguments, 0);
  if (man) print_and_leave(manual_page(registry, date()));
  if (name.empty()) print_and_leave(program_help());
  std::vector<std::string> names;
  for (const Verb& verb : verbs()) {
    if (verb.name == name) print_and_leave(help_of(verb, registry).text);
    names.push_back(verb.name);
  }
  line.complain("there is no verb \"" + name + "\"" + runtime::suggestion_text(runtime::did_you_mean(name, names)));
}

}  // namespace tradewind::launcher
