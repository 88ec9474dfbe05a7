#include <cstdio>
#include <cstdlib>

#include "launcher/command_line.h"
#include "launcher/commands/commands.h"
#include "launcher/output.h"
#include "runtime/comm/mpi.h"
#include "runtime/core/environment.h"

namespace tradewind::launcher {
namespace {

const char* const kHelp = R"(What a bug report needs: build, libraries, machine, and what is set.

usage: tradewind env [--json]

  --json  print one JSON object

examples:
  tradewind env
  tradewind env --json > environment.json
)";

/// Variables that change what the program or its libraries do.
constexpr const char* kVariables[] = {"OMP_NUM_THREADS", "OMP_WAIT_POLICY", "GOMP_SPINCOUNT",      "GOMP_CPU_AFFINITY",
                                      "OMP_PROC_BIND",   "OMP_PLACES",      "LD_PRELOAD",          "LANG",
                                      "LC_ALL",          "SLURM_JOB_ID",    "OMPI_COMM_WORLD_SIZE"};

void print(const nlohmann::ordered_json& object, const std::string& prefix) {
  for (const auto& [key, value] : object.items()) {
    if (value.is_object())
      print(value, prefix + key + ".");
    else
      std::printf("%-24s %s\n", (prefix + key).c_str(),
                  value.is_string() ? value.get<std::string>().c_str() : value.dump().c_str());
  }
}

}  // namespace

int run_env(const Arguments& arguments, const models::Registry&) {
  CommandLine line("env", kHelp);
  bool json = false;
  line.flag("--json", json);
  line.parse(arguments, 0);
  const runtime::Context context(runtime::Device{}, 0, 0);
  auto environment = runtime::describe_environment(context);
  std::string mpi = runtime::mpi_version();
  environment["libraries"]["mpi"] = mpi.substr(0, mpi.find_first_of(",\n"));
  environment["resident_bytes"] = runtime::resident_bytes();
  auto& variables = environment["variables"] = nlohmann::ordered_json::object();
  for (const char* name : kVariables)
    if (const char* value = std::getenv(name)) variables[name] = value;
  if (json)
    print_json(environment);
  else
    print(environment, "");
  return 0;
}

}  // namespace tradewind::launcher
