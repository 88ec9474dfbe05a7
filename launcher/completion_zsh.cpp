// The completion script of zsh (zshcompsys(1): _arguments, _describe).
#include <fmt/format.h>

#include "launcher/completion.h"

namespace tradewind::launcher {
namespace {

constexpr const char* kZsh = R"zsh(#compdef tradewind
# zsh completion for tradewind; made by `tradewind completion zsh`
_tradewind_key() {
  local -a keys
  keys=(
@KEYS@  )
  _describe -t keys 'config key' keys "$@"
}
_tradewind_setting() {
  local -a values
  if ! compset -P 1 '*='; then
    _tradewind_key -S =
    return
  fi
  case ${${IPREFIX%=}##*=} in
@VALUES@  esac
  compadd -a values
}
_tradewind_checkpoint() {
  local -a steps
  local word step
  for word in $words; do
    for step in $word/checkpoints/step-<->(N:t); do steps+=($(( 10#${step#step-} ))); done
  done
  compadd last best $steps
}
_tradewind() {
  local -a verbs
  local verb=$words[2]
  if (( CURRENT == 2 )); then
    verbs=(
@VERBS@    )
    _describe -t verbs 'verb' verbs
    compadd -- --help --version
    return
  fi
  shift words
  (( CURRENT-- ))
  case $verb in
@OPTIONS@  esac
}
if [[ $funcstack[1] == _tradewind ]]; then
  _tradewind "$@"
else
  compdef _tradewind tradewind
fi
)zsh";

std::string escaped(const std::string& text, const std::string& special) {
  std::string out;
  for (const char c : text) {
    if (special.find(c) != std::string::npos) out += '\\';
    out += c;
  }
  return out;
}

/// What _arguments calls for a value or a place.
std::string action(const CompletionSource& source, const std::string& placeholder) {
  switch (wanted(placeholder)) {
    case Wanted::kNothing: return " ";
    case Wanted::kFile: return "_files";
    case Wanted::kRecipe: return "_files -g \"*.toml\"";
    case Wanted::kRun: return "_files -/";
    case Wanted::kCheckpoint: return "_tradewind_checkpoint";
    case Wanted::kSetting: return "_tradewind_setting";
    case Wanted::kKey: return "_tradewind_key";
    case Wanted::kModel: return fmt::format("({})", joined(source.models));
    case Wanted::kVerb: return fmt::format("({})", verb_names(source));
    case Wanted::kWord: return fmt::format("({})", joined(words(placeholder)));
  }
  return " ";
}

std::string arguments(const CompletionSource& source, const VerbHelp& verb) {
  std::string out;
  for (const HelpItem& item : verb.items) {
    if (!item.is_option()) continue;
    std::string spec =
        fmt::format("{}{}[{}]", item.value == "KEY=VALUE" ? "*" : "", item.name, escaped(brief(item.text), "[]\\"));
    if (!item.value.empty()) spec += fmt::format(":{}:{}", item.value, action(source, verb.value_of(item)));
    out += fmt::format(" {}", shell_quoted(spec));
  }
  const auto places = verb.places();
  for (std::size_t i = 0; i < places.size(); ++i) {
    const std::string which = places[i].ends_with("...") ? "*" : std::to_string(i + 1);
    out +=
        fmt::format(" {}", shell_quoted(fmt::format("{}:{}:{}", which, escaped(places[i], ":\\"), action(source, places[i]))));
  }
  return out + " '--help[options and examples]'";
}

}  // namespace

std::string zsh_completion(const CompletionSource& source) {
  std::string keys, values, verbs, options;
  for (const auto& key : source.keys) {
    keys += fmt::format("    {}\n", shell_quoted(fmt::format("{}:{}", escaped(key.key, ":"), brief(key.doc))));
    if (names_a_file(key))
      values += fmt::format("    {}) _files; return ;;\n", key.key);
    else if (const auto offered = values_of(key); !offered.empty())
      values += fmt::format("    {}) values=({}) ;;\n", key.key, joined(offered));
  }
  for (const VerbHelp& verb : source.verbs) {
    verbs += fmt::format("      {}\n", shell_quoted(fmt::format("{}:{}", escaped(verb.name, ":"), verb.summary)));
    options += fmt::format("    {}) _arguments{} ;;\n", verb.name, arguments(source, verb));
  }
  return replaced(kZsh, {{"KEYS", keys}, {"VALUES", values}, {"VERBS", verbs}, {"OPTIONS", options}});
}

}  // namespace tradewind::launcher
