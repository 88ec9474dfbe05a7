// Bytes at a place of a file.
#pragma once

#include <unistd.h>

#include <cerrno>
#include <cstddef>
#include <cstdint>

namespace tradewind::runtime {

/// All of them, however many calls that takes. False where one fails, which errno names.
inline bool write_at(int descriptor, std::uint64_t offset, const void* from, std::size_t bytes) {
  for (const auto* next = static_cast<const char*>(from); bytes > 0;) {
    const ssize_t put = ::pwrite(descriptor, next, bytes, static_cast<off_t>(offset));
    if (put < 0 && errno == EINTR) continue;
    if (put < 0) return false;
    next += put, bytes -= static_cast<std::size_t>(put);
    offset += static_cast<std::uint64_t>(put);
  }
  return true;
}

}  // namespace tradewind::runtime
