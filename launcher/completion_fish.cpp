// The completion script of fish (complete(1) there).
#include <fmt/format.h>

#include "launcher/completion.h"

namespace tradewind::launcher {
namespace {

constexpr const char* kFish = R"fish(# fish completion for tradewind; made by `tradewind completion fish`
function __tradewind_verb -a verb
    set -l tokens (commandline -opc)
    test (count $tokens) -ge 2; and test "$tokens[2]" = $verb
end
function __tradewind_place -a verb least most  # whether so many words stand before this one
    set -l tokens (commandline -opc)
    __tradewind_verb $verb; or return 1
    set -l place 0
    set -l value 0
    for token in $tokens[3..-1]
        if test $value = 1
            set value 0
        else if contains -- $token @TAKES@
            set value 1
        else if not string match -q -- '-*' $token
            set place (math $place + 1)
        end
    end
    test $place -ge $least -a $place -le $most
end
function __tradewind_keys
    printf '%s\n' @KEYS@
end
function __tradewind_settings
    set -l token (commandline -ct | string replace -r '^--set=' '')
    if not string match -q '*=*' -- $token
        __tradewind_keys | string replace -r '(\t|$)' '=$1'
        return
    end
    set -l key (string split -m1 = -- $token)[1]
    set -l word (string split -m1 = -- $token)[2]
    switch $key
@VALUES@    end
end
function __tradewind_checkpoints
    printf '%s\n' last best
    for word in (commandline -opc)
        for step in $word/checkpoints/step-*
            string replace -rf '.*/step-0*(\d+)$' '$1' -- $step
        end
    end
end
complete -c tradewind -f
complete -c tradewind -n __fish_use_subcommand -l help -d 'options and examples'
complete -c tradewind -n __fish_use_subcommand -l version -d 'version, build, instruction set'
@COMMANDS@)fish";

/// fish reads \\ and \' in single quotes.
std::string quoted(const std::string& text) {
  std::string out = "'";
  for (const char c : text) {
    if (c == '\'' || c == '\\') out += '\\';
    out += c;
  }
  return out + "'";
}

/// The options of `complete` for a value or a place.
std::string offer(const CompletionSource& source, const std::string& placeholder) {
  switch (wanted(placeholder)) {
    case Wanted::kNothing: return "";
    case Wanted::kFile: return " -F";
    case Wanted::kRecipe: return " -k -a '(__fish_complete_suffix .toml)'";
    case Wanted::kRun: return " -a '(__fish_complete_directories (commandline -ct))'";
    case Wanted::kCheckpoint: return " -a '(__tradewind_checkpoints)'";
    case Wanted::kSetting: return " -a '(__tradewind_settings)'";
    case Wanted::kKey: return " -a '(__tradewind_keys)'";
    case Wanted::kModel: return fmt::format(" -a '{}'", joined(source.models));
    case Wanted::kVerb: return fmt::format(" -a '{}'", verb_names(source));
    case Wanted::kWord: return fmt::format(" -a '{}'", joined(words(placeholder)));
  }
  return "";
}

}  // namespace

std::string fish_completion(const CompletionSource& source) {
  std::string keys, values, commands, takes;
  for (const auto& key : source.keys) {
    keys += fmt::format(" \\\n        {}\\t{}", quoted(key.key), quoted(brief(key.doc)));
    if (names_a_file(key))
      values += fmt::format(
          "        case {}\n            for file in $word*\n                echo $key=$file\n            end\n", key.key);
    else if (const auto offered = values_of(key); !offered.empty())
      values += fmt::format("        case {}\n            printf '%s\\n' $key={{{}}}\n", key.key, fmt::join(offered, ","));
  }
  for (const VerbHelp& verb : source.verbs) {
    commands += fmt::format("complete -c tradewind -n __fish_use_subcommand -a {} -d {}\n", verb.name, quoted(verb.summary));
    const std::string here = fmt::format("complete -c tradewind -n '__tradewind_verb {}'", verb.name);
    for (const HelpItem& item : verb.items) {
      if (!item.is_option()) continue;
      const std::string value = offer(source, verb.value_of(item));
      if (!item.value.empty() && takes.find(item.name + " ") == std::string::npos) takes += item.name + " ";
      commands += fmt::format("{} -l {}{}{} -d {}\n", here, item.name.substr(2),
                              item.value.empty() ? ""
                              : value == " -F"   ? " -r"
                                                 : " -x",
                              value, quoted(brief(item.text)));
    }
    commands += here + " -l help -d 'options and examples'\n";
    const auto places = verb.places();
    for (std::size_t i = 0; i < places.size(); ++i)
      if (const std::string value = offer(source, places[i]); !value.empty())
        commands += fmt::format("complete -c tradewind -n '__tradewind_place {} {} {}'{}\n", verb.name, i,
                                places[i].ends_with("...") ? 999 : i, value);
  }
  return replaced(kFish, {{"KEYS", keys}, {"VALUES", values}, {"COMMANDS", commands}, {"TAKES", takes}});
}

}  // namespace tradewind::launcher
