// The command line. A binary of your own calls run() with a registry of its own:
//
//   int main(int argc, char** argv) {
//     auto registry = tradewind::models::builtin_registry();
//     registry.add({...});
//     return tradewind::launcher::run(argc, argv, registry);
//   }
#pragma once

#include "models/registry.h"

namespace tradewind::launcher {

/// Parses, runs the verb, catches. What goes wrong is one `error: ...` on stderr; the return value is the exit code
/// (kernels/base/error.h).
int run(int argc, char** argv, const models::Registry& registry);

}  // namespace tradewind::launcher
