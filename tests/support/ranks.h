// Running a program as several ranks on this machine, whatever its cores and whoever runs it.
#pragma once

#include <unistd.h>

#include <cstdlib>
#include <filesystem>
#include <string>
#include <vector>

#include "tests/support/command.h"

namespace tradewind::tests {

/// "mpirun -n RANKS PROGRAM...", for more ranks than cores, as root too. Empty where there is no mpirun.
inline std::vector<std::string> under_mpirun(int ranks, const std::vector<std::string>& program) {
  std::string mpirun;
  for (const char* folder : {"/usr/bin", "/usr/local/bin"})
    if (std::filesystem::exists(std::string(folder) + "/mpirun")) mpirun = std::string(folder) + "/mpirun";
  if (mpirun.empty()) return {};
  std::vector<std::string> out = {
      mpirun,  "-n",  std::to_string(ranks), "--oversubscribe", "--bind-to", "none", "--mca", "mpi_yield_when_idle", "1",
      "--mca", "btl", "self,vader,tcp"};
  if (getuid() == 0) out.push_back("--allow-run-as-root");
  out.insert(out.end(), program.begin(), program.end());
  return out;
}

}  // namespace tradewind::tests
