// The command line of one verb.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

namespace tradewind::launcher {

using Arguments = std::vector<std::string>;

/// Not an error: the text was asked for. Whoever catches it prints it, or looks at it.
struct Printed {
  std::string text;
  std::vector<std::string> options = {};  // "--set": every option that the verb takes, where its help was asked for
};

/// Throws Printed.
[[noreturn]] void print_and_leave(const std::string& text);

/// "9.7 MB", in powers of ten: for a person.
std::string size_text(std::uint64_t bytes);

/// CLI11 splits and converts; help and complaints are ours (its help knows no line width). Declare what the verb takes, bound
/// to variables that hold the defaults, then parse.
class CommandLine {
 public:
  /// `help` is what --help prints.
  CommandLine(std::string verb, const char* help);
  ~CommandLine();
  CommandLine(const CommandLine&) = delete;
  CommandLine& operator=(const CommandLine&) = delete;

  void option(const std::string& name, std::string& value);
  void option(const std::string& name, std::int64_t& value);
  void option(const std::string& name, double& value);
  /// May be given many times, a value each.
  void option(const std::string& name, std::vector<std::string>& values);
  /// --seed, which is not negative.
  void seed(std::uint64_t& value);
  void flag(const std::string& name, bool& value);
  void positional(const std::string& name, std::string& value);
  /// As many as come, behind the other positionals.
  void positionals(const std::string& name, std::vector<std::string>& values);

  /// Throws ConfigError. The first `required` positionals must be there.
  void parse(Arguments arguments, std::size_t required);

  /// Throws ConfigError: what is wrong, and where the help is.
  [[noreturn]] void complain(const std::string& what) const;

 private:
  std::vector<std::string> long_names() const;

  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace tradewind::launcher
