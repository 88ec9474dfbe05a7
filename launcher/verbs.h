// What the program can be asked to do, for dispatch, help, completion and the manual page.
#pragma once

#include <string>
#include <vector>

#include "launcher/command_line.h"
#include "models/registry.h"

namespace tradewind::launcher {

struct Verb {
  std::string name;
  const char* summary;
  int (*run)(const Arguments&, const models::Registry&);
};

/// In the order in which they are shown.
const std::vector<Verb>& verbs();

/// What `tradewind --help` prints.
std::string program_help();

}  // namespace tradewind::launcher
