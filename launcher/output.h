// What verbs print beside their results' own form.
#pragma once

#include <nlohmann/json.hpp>
#include <string>

namespace tradewind::launcher {

/// For --json: one object, one line, on stdout. Bytes that are no UTF-8, as in paths, are replaced.
void print_json(const nlohmann::ordered_json& object);

/// "warning: ..." on stderr.
void warn(const std::string& message);

}  // namespace tradewind::launcher
