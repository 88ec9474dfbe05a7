// What a run was computed by and on: for the log, environment.json and the question why two runs differ.
#pragma once

#include <nlohmann/json.hpp>
#include <string>

#include "runtime/core/context.h"

namespace tradewind::runtime {

/// "0.1.0"
std::string version();
/// "Release"
std::string build();

/// What must be the same on all ranks of a run, a line each: version and build, checksum of the executable, libraries as they
/// are loaded, instruction set.
std::string describe_build();

/// version, build, compiler, libraries, device, isa, threads, CPU model, cores, memory, host, operating system.
nlohmann::ordered_json describe_environment(const Context& context);

/// Resident memory of this process now, in bytes; 0 where the system does not tell.
std::size_t resident_bytes();

}  // namespace tradewind::runtime
