#include "launcher/completion.h"

#include <fmt/format.h>

#include <algorithm>
#include <map>

#include "launcher/run_config.h"

namespace tradewind::launcher {
namespace {

const char* bash_word(Wanted what) {
  switch (what) {
    case Wanted::kNothing: return "nothing";
    case Wanted::kFile: return "file";
    case Wanted::kRecipe: return "recipe";
    case Wanted::kRun: return "run";
    case Wanted::kCheckpoint: return "checkpoint";
    case Wanted::kSetting: return "setting";
    case Wanted::kKey: return "key";
    case Wanted::kModel: return "model";
    case Wanted::kVerb: return "verb";
    case Wanted::kWord: return "word";
  }
  return "nothing";
}

std::string bash_kind(const std::string& placeholder) {
  const Wanted what = wanted(placeholder);
  return what == Wanted::kWord ? placeholder.substr(0, placeholder.find("...")) : bash_word(what);
}

constexpr const char* kBash = R"bash(# bash completion for tradewind; made by `tradewind completion bash`
_tradewind_find() {  # WHAT WORD WORDS...: fills COMPREPLY
  local names word step
  case $1 in
    nothing) ;;
    verb) COMPREPLY=($(compgen -W '@VERBS@' -- "$2")) ;;
    model) COMPREPLY=($(compgen -W '@MODELS@' -- "$2")) ;;
    key) COMPREPLY=($(compgen -W "$(_tradewind_keys)" -- "$2")) ;;
    setting)
      COMPREPLY=($(compgen -S = -W "$(_tradewind_keys)" -- "$2"))
      compopt -o nospace 2>/dev/null
      ;;
    file | recipe | run)
      local IFS=$'\n'
      compopt -o filenames 2>/dev/null
      COMPREPLY=($(compgen -d -- "$2"))
      [[ $1 == file ]] && COMPREPLY=($(compgen -f -- "$2"))
      [[ $1 == recipe ]] && COMPREPLY+=($(compgen -f -X '!*.toml' -- "$2"))
      ;;
    checkpoint)  # of the run among WORDS
      names='last best'
      for word in "${@:3}"; do
        for step in "${word%/}"/checkpoints/step-*; do
          step=${step##*/step-}
          [[ $step =~ ^[0-9]+$ ]] && names+=" $((10#$step))"
        done
      done
      COMPREPLY=($(compgen -W "$names" -- "$2"))
      ;;
    *) COMPREPLY=($(compgen -W "${1//|/ }" -- "$2")) ;;
  esac
}
_tradewind_keys() {
  echo '@KEYS@'
}
_tradewind_value() {  # KEY WORD BEFORE: the values of a config key, BEFORE in front of each
  local values=''
  case $1 in
@VALUES@  esac
  case $values in
    '') ;;
    /) _tradewind_find file "$2" ;;
    *) COMPREPLY=($(compgen -P "$3" -W "$values" -- "$2")) ;;
  esac
}
_tradewind_options() {  # VERB: its options, what a value of each is, and what stands in its places
  case $1 in
@OPTIONS@  esac
}
_tradewind() {
  local cur=${COMP_WORDS[COMP_CWORD]} options='' key='' place=0 i word
  local -a places=()
  local -A takes=()
  COMPREPLY=()
  if [[ $COMP_CWORD -le 1 ]]; then
    COMPREPLY=($(compgen -W '@VERBS@ --help --version' -- "$cur"))
    return
  fi
  _tradewind_options "${COMP_WORDS[1]}"
  # bash takes words apart at "=": --set KEY = VALUE, --option = VALUE
  local last=$((COMP_CWORD - 1))
  if [[ $cur == '=' ]]; then
    cur='' key=${COMP_WORDS[last]} last=$((last - 1))
  elif [[ ${COMP_WORDS[last]} == '=' ]]; then
    key=${COMP_WORDS[last - 1]} last=$((last - 2))
  fi
  local kind=${takes[${COMP_WORDS[last]}]-}
  if [[ -n $key && -n ${takes[$key]-} ]]; then
    _tradewind_find "${takes[$key]}" "$cur" "${COMP_WORDS[@]}"
  elif [[ -n $key ]]; then
    [[ $kind == setting ]] && _tradewind_value "$key" "$cur" ''
  elif [[ $kind == setting && $cur == *=* ]]; then
    _tradewind_value "${cur%%=*}" "${cur#*=}" "${cur%%=*}="
  elif [[ -n $kind ]]; then
    _tradewind_find "$kind" "$cur" "${COMP_WORDS[@]}"
  elif [[ $cur == -* ]]; then
    COMPREPLY=($(compgen -W "$options --help" -- "$cur"))
  else
    for ((i = 2; i <= last; ++i)); do  # how many places are taken
      word=${COMP_WORDS[i]}
      if [[ $word == '=' || -n ${takes[$word]-} ]]; then
        i=$((i + 1))
      elif [[ $word != -* && ${COMP_WORDS[i + 1]-} != '=' ]]; then
        place=$((place + 1))
      fi
    done
    if [[ ${#places[@]} -gt 0 && $place -ge ${#places[@]} && ${places[-1]} == *... ]]; then place=$((${#places[@]} - 1)); fi
    word=${places[place]-}
    [[ -z $word ]] || _tradewind_find "${word%...}" "$cur" "${COMP_WORDS[@]}"
  fi
}
complete -F _tradewind tradewind
)bash";

}  // namespace

std::string joined(const std::vector<std::string>& parts) {
  std::string out;
  for (const std::string& part : parts) out += (out.empty() ? "" : " ") + part;
  return out;
}

std::string verb_names(const CompletionSource& source) {
  std::vector<std::string> out;
  for (const VerbHelp& verb : source.verbs) out.push_back(verb.name);
  return joined(out);
}

std::string shell_quoted(const std::string& text) {
  std::string out = "'";
  for (const char c : text) {
    if (c == '\'') out += "'\\'";  // out of the quotes, one, and in again
    out += c;
  }
  return out + "'";
}

std::string brief(const std::string& text) {
  const std::string out = text.substr(0, text.find_first_of(";:"));
  return out.size() > 64 ? out.substr(0, out.rfind(' ', 64)) + " ..." : out;
}

std::string replaced(std::string text, const std::map<std::string, std::string>& parts) {
  for (const auto& [name, value] : parts) {
    const std::string mark = fmt::format("@{}@", name);
    for (std::size_t at = 0; (at = text.find(mark, at)) != std::string::npos; at += value.size())
      text.replace(at, mark.size(), value);
  }
  return text;
}

CompletionSource completion_source(const models::Registry& registry) {
  CompletionSource out{.verbs = all_help(registry), .keys = {}, .models = {}};
  std::map<std::string, runtime::ConfigKey> keys;
  for (const models::ModelEntry& entry : registry.entries()) {
    out.models.push_back(entry.name);
    RunConfig config = default_run_config(entry.name, registry);
    for (auto& key : runtime::config_keys([&](runtime::Fields& f) { config.describe(f); }, "")) keys.try_emplace(key.key, key);
  }
  for (auto& [name, key] : keys) {
    if (name == "model.name") key.choices = out.models;
    out.keys.push_back(key);
  }
  return out;
}

std::vector<std::string> words(const std::string& placeholder) {
  std::vector<std::string> out;
  std::string word;
  for (const char c : placeholder + "|") {
    if (c != '|') {
      word += c;
      continue;
    }
    if (word.empty() || !std::ranges::all_of(word, [](char l) { return (l >= 'a' && l <= 'z') || l == '-'; })) return {};
    out.push_back(word);
    word.clear();
  }
  return out;
}

Wanted wanted(const std::string& placeholder) {
  std::string name = placeholder.ends_with("...") ? placeholder.substr(0, placeholder.size() - 3) : placeholder;
  if (!words(name).empty()) return Wanted::kWord;
  name = name.substr(0, name.find('|'));
  if (name == "FILE" || name == "PATH" || name == "DIR") return Wanted::kFile;
  if (name == "CONFIG" || name == "RECIPE") return Wanted::kRecipe;
  if (name == "RUN") return Wanted::kRun;
  if (name == "C") return Wanted::kCheckpoint;
  if (name == "KEY=VALUE") return Wanted::kSetting;
  if (name == "KEY") return Wanted::kKey;
  if (name == "NAME") return Wanted::kModel;
  if (name == "VERB") return Wanted::kVerb;
  return Wanted::kNothing;
}

std::vector<std::string> values_of(const runtime::ConfigKey& key) {
  if (key.type == "boolean") return {"true", "false"};
  return key.choices;
}

bool names_a_file(const runtime::ConfigKey& key) {
  constexpr const char* kEnds[] = {"path", "directory", ".prepared", ".from", ".vocabulary"};
  return key.type == "string" && key.choices.empty() &&
         std::ranges::any_of(kEnds, [&](const char* end) { return key.key.ends_with(end); });
}

std::string bash_completion(const CompletionSource& source) {
  std::string keys, values, options;
  for (const auto& key : source.keys) {
    keys += (keys.empty() ? "" : " ") + key.key;
    const std::string offered = names_a_file(key) ? "/" : joined(values_of(key));
    if (!offered.empty()) values += fmt::format("    {}) values={} ;;\n", key.key, shell_quoted(offered));
  }
  for (const VerbHelp& verb : source.verbs) {
    std::string names, takes, places;
    for (const HelpItem& item : verb.items) {
      if (!item.is_option()) continue;
      names += " " + item.name;
      if (!item.value.empty()) takes += fmt::format(" [{}]={}", item.name, shell_quoted(bash_kind(verb.value_of(item))));
    }
    for (const std::string& place : verb.places())
      places += fmt::format(" {}", shell_quoted(bash_kind(place) + (place.ends_with("...") ? "..." : "")));
    options += fmt::format("    {}) options={} takes=({}) places=({}) ;;\n", verb.name,
                           shell_quoted(names.empty() ? "" : names.substr(1)), takes.empty() ? "" : takes.substr(1),
                           places.empty() ? "" : places.substr(1));
  }
  return replaced(kBash, {{"VERBS", verb_names(source)},
                          {"MODELS", joined(source.models)},
                          {"KEYS", keys},
                          {"VALUES", values},
                          {"OPTIONS", options}});
}

}  // namespace tradewind::launcher
