#include "launcher/output.h"

#include <cstdio>

#include "runtime/core/terminal.h"

namespace tradewind::launcher {

void print_json(const nlohmann::ordered_json& object) {
  std::printf("%s\n", object.dump(-1, ' ', false, nlohmann::ordered_json::error_handler_t::replace).c_str());
}

void warn(const std::string& message) { runtime::say(stderr, "warning: " + message); }

}  // namespace tradewind::launcher
