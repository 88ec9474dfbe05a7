// An operation on a file that failed, as an error that says what to do about it.
#pragma once

#include <fmt/format.h>

#include <filesystem>
#include <string>
#include <system_error>

#include "kernels/base/error.h"
#include "runtime/checkpoint/files.h"

namespace tradewind::runtime {

/// "writing events.h5: No space left on device; 4096 bytes are free on that disk. Make room, then run the same command again".
/// `error`: errno.
inline DataError file_error(const char* doing, const std::filesystem::path& file, int error) {
  std::string said = fmt::format("{} {}: {}", doing, file.string(), std::system_category().message(error));
  std::error_code unknown;
  if (is_disk_full(error))
    said += fmt::format("; {} bytes are free on that disk. Make room, then run the same command again",
                        std::filesystem::space(file.has_parent_path() ? file.parent_path() : ".", unknown).available);
  return DataError(said);
}

}  // namespace tradewind::runtime
