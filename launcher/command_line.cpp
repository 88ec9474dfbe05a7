#include "launcher/command_line.h"

#include <CLI/CLI.hpp>
#include <algorithm>
#include <cstdio>
#include <optional>
#include <utility>

#include "kernels/base/error.h"
#include "runtime/config/config.h"

namespace tradewind::launcher {

void print_and_leave(const std::string& text) { throw Printed{text}; }

std::string size_text(std::uint64_t bytes) {
  char out[32];
  const auto n = static_cast<double>(bytes);
  if (bytes < 10'000'000)
    std::snprintf(out, sizeof out, "%.1f kB", n / 1e3);
  else
    std::snprintf(out, sizeof out, n < 1e10 ? "%.1f MB" : "%.1f GB", n / (n < 1e10 ? 1e6 : 1e9));
  return out;
}

struct CommandLine::State {
  std::string verb;
  const char* help;
  CLI::App app;
  std::vector<std::pair<std::string, std::string*>> positionals;
  std::uint64_t* seed = nullptr;
  std::optional<std::int64_t> seed_given;  // signed: CLI11 would read -1 as a large number
};

CommandLine::CommandLine(std::string verb, const char* help) : state_(std::make_unique<State>()) {
  state_->verb = std::move(verb);
  state_->help = help;
  state_->app.allow_extras();
  state_->app.set_help_flag("-h,--help");
}

CommandLine::~CommandLine() = default;

void CommandLine::option(const std::string& name, std::string& value) { state_->app.add_option(name, value); }
void CommandLine::option(const std::string& name, std::int64_t& value) { state_->app.add_option(name, value); }
void CommandLine::option(const std::string& name, double& value) { state_->app.add_option(name, value); }

void CommandLine::option(const std::string& name, std::vector<std::string>& values) {
  // `--set a=1 CONFIG` leaves CONFIG alone.
  state_->app.add_option(name, values)->expected(1)->take_all()->allow_extra_args(false);
}

void CommandLine::seed(std::uint64_t& value) {
  state_->seed = &value;
  state_->app.add_option("--seed", state_->seed_given);
}

void CommandLine::flag(const std::string& name, bool& value) { state_->app.add_flag(name, value); }

void CommandLine::positional(const std::string& name, std::string& value) {
  state_->positionals.push_back({name, &value});
  state_->app.add_option(name, value);
}

void CommandLine::positionals(const std::string& name, std::vector<std::string>& values) {
  state_->app.add_option(name, values);
}

void CommandLine::parse(Arguments arguments, std::size_t required) {
  State& s = *state_;
  try {
    std::reverse(arguments.begin(), arguments.end());  // CLI11 takes them from the back
    s.app.parse(arguments);
  } catch (const CLI::CallForHelp&) {
    throw Printed{s.help, long_names()};
  } catch (const CLI::ParseError& e) {
    complain(e.what());
  }
  for (const std::string& extra : s.app.remaining()) {
    if (extra.size() < 2 || extra[0] != '-') continue;
    const std::vector<std::string> known = long_names();
    const std::string given = extra.substr(0, extra.find('='));
    complain("unknown option " + given + runtime::suggestion_text(runtime::did_you_mean(given, known)));
  }
  if (!s.app.remaining().empty()) complain("there is no place for \"" + s.app.remaining().front() + "\"");
  if (s.seed_given && *s.seed_given < 0) complain("--seed must not be negative");
  if (s.seed_given) *s.seed = static_cast<std::uint64_t>(*s.seed_given);
  for (std::size_t i = 0; i < required; ++i)
    if (s.positionals[i].second->empty()) complain(s.positionals[i].first + " is missing");
}

std::vector<std::string> CommandLine::long_names() const {
  std::vector<std::string> out;
  for (const CLI::Option* option : state_->app.get_options())
    for (const std::string& name : option->get_lnames()) out.push_back("--" + name);
  return out;
}

void CommandLine::complain(const std::string& what) const {
  const std::string& verb = state_->verb;
  throw ConfigError(verb + ": " + what + (what.ends_with('?') ? " See" : "; see") + " tradewind " + verb + " --help");
}

}  // namespace tradewind::launcher
