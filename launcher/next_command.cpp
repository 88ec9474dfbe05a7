#include "launcher/next_command.h"

#include <algorithm>
#include <string_view>

#include "launcher/completion.h"

namespace tradewind::launcher {

std::string shell_word(const std::string& text) {
  const bool plain = std::ranges::all_of(text, [](char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
           std::string_view("_@%+=:,./-").find(c) != std::string_view::npos;
  });
  return plain && !text.empty() ? text : shell_quoted(text);
}

std::string command_with(const std::string& verb, const std::string& config, const std::vector<std::string>& settings) {
  std::string out = "tradewind " + verb + " " + shell_word(config);
  for (const std::string& setting : settings) out += " --set " + shell_word(setting);
  return out;
}

}  // namespace tradewind::launcher
