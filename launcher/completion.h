// What makes a shell complete the command line. The scripts hold all they need (verbs and options from the help, config keys
// from the registry's models), so that no program is started at each press of the key.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "launcher/help.h"
#include "runtime/config/config.h"

namespace tradewind::launcher {

/// What can stand somewhere on the command line.
enum class Wanted : std::uint8_t { kNothing, kFile, kRecipe, kRun, kCheckpoint, kSetting, kKey, kModel, kVerb, kWord };

struct CompletionSource {
  std::vector<VerbHelp> verbs;
  std::vector<runtime::ConfigKey> keys;  // of all models together, by name
  std::vector<std::string> models;
};

CompletionSource completion_source(const models::Registry& registry);

/// What the value of an option, or a place of VerbHelp::places(), is: "FILE", "RUN...", "KEY=VALUE". kWord: one of
/// words(place).
Wanted wanted(const std::string& placeholder);

/// "bash|zsh|fish" in parts; other placeholders have none.
std::vector<std::string> words(const std::string& placeholder);

/// Values that the config key may have and that are worth offering.
std::vector<std::string> values_of(const runtime::ConfigKey& key);
bool names_a_file(const runtime::ConfigKey& key);

// Pieces of scripts.
std::string joined(const std::vector<std::string>& parts);  // with spaces
std::string verb_names(const CompletionSource& source);     // the same
std::string shell_quoted(const std::string& text);          // in single quotes, as bash and zsh read it
/// The first clause of an explanation: a menu has one line.
std::string brief(const std::string& text);
/// `text` with each @NAME@ replaced.
std::string replaced(std::string text, const std::map<std::string, std::string>& parts);

std::string bash_completion(const CompletionSource& source);
std::string zsh_completion(const CompletionSource& source);
std::string fish_completion(const CompletionSource& source);

}  // namespace tradewind::launcher
