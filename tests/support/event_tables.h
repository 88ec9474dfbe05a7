// Tables of events in files that go away with the test program.
#pragma once

#include <string>

#include "runtime/data/interactions.h"
#include "tests/support/temporary_folder.h"

namespace tradewind::tests {

inline const TemporaryFolder& table_folder() {
  static const TemporaryFolder one;
  return one;
}

/// A config that reads `text` from a file `name`, and else has the defaults.
inline runtime::InteractionsConfig config_of(const std::string& text, const std::string& name = "events.csv") {
  runtime::InteractionsConfig config;
  config.path = table_folder().write(name, text).string();
  return config;
}

/// As a field of CSV.
inline std::string in_quotes(const std::string& field) {
  std::string out = "\"";
  for (const char c : field) out += c == '"' ? "\"\"" : std::string(1, c);
  return out + "\"";
}

}  // namespace tradewind::tests
