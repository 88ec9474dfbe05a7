// Commands that messages tell a person to try.
#pragma once

#include <string>
#include <vector>

namespace tradewind::launcher {

/// As one word of a command line, in quotes where a shell takes it for something else.
std::string shell_word(const std::string& text);

/// "tradewind train my.toml --set data.path=events.csv": with the settings that this command was given.
std::string command_with(const std::string& verb, const std::string& config, const std::vector<std::string>& settings);

}  // namespace tradewind::launcher
