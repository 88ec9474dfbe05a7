// The exceptions of Tradewind and the exit code that each one ends the program with.
//
// A message says what was being done, with which file, line, row, tensor, rank or step, and what to do about it.
// Expected outcomes are return values; these end an operation. InternalError is a bug of ours.
#pragma once

#include <stdexcept>
#include <string>

namespace tradewind {

enum class ExitCode : int {
  kDone = 0,
  kConfig = 2,
  kData = 3,
  kCheckpoint = 4,
  kDevice = 5,  // and communication
  kInternal = 70,
  kRequeue = 75,  // stopped at a checkpoint, run the same command again
};

class Error : public std::runtime_error {
 public:
  Error(ExitCode code, const std::string& message) : std::runtime_error(message), code_(code) {}
  ExitCode code() const { return code_; }

 private:
  ExitCode code_;
};

#define TRADEWIND_ERROR(Name, code)                                               \
  class Name : public Error {                                                     \
   public:                                                                        \
    explicit Name(const std::string& message) : Error(ExitCode::code, message) {} \
  };
TRADEWIND_ERROR(ConfigError, kConfig)
TRADEWIND_ERROR(DataError, kData)
TRADEWIND_ERROR(CheckpointError, kCheckpoint)
TRADEWIND_ERROR(DeviceError, kDevice)
TRADEWIND_ERROR(CommError, kDevice)
TRADEWIND_ERROR(InternalError, kInternal)
#undef TRADEWIND_ERROR

/// Throws InternalError("where: what") unless `holds`. For arguments that only our own code can get wrong.
inline void require(bool holds, const char* where, const char* what) {
  if (!holds) throw InternalError(std::string(where) + ": " + what);
}

}  // namespace tradewind
