// How much workspace a kernel takes.
#pragma once

#include <algorithm>
#include <cstdint>

#include "kernels/base/launch.h"

namespace tradewind::tests {

/// Counts the bytes that are out.
class CountingScratch final : public kernels::Scratch {
 public:
  void* acquire(std::size_t bytes) override {
    held_ += static_cast<std::int64_t>(bytes);
    most = std::max(most, held_);
    return kernels::heap_scratch().acquire(bytes);
  }
  void release(void* pointer, std::size_t bytes) noexcept override {
    held_ -= static_cast<std::int64_t>(bytes);
    kernels::heap_scratch().release(pointer, bytes);
  }
  std::int64_t most = 0;

 private:
  std::int64_t held_ = 0;
};

}  // namespace tradewind::tests
