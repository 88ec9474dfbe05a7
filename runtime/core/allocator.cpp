// Size classes: powers of two and three halves between them, from 64 bytes, so at most a third is unused. Blocks from
// 2 MiB are mapped on 2 MiB boundaries and advised to be huge pages, then touched once; smaller ones are cut from slabs.
#include "runtime/core/allocator.h"

#include <sys/mman.h>

#include <algorithm>
#include <array>
#include <bit>
#include <fstream>
#include <mutex>
#include <string>
#include <vector>

#include "kernels/base/error.h"

namespace tradewind::runtime {
namespace {

constexpr std::size_t kHuge = std::size_t{2} << 20;
constexpr std::size_t kSlab = std::size_t{2} << 20;
constexpr std::size_t kClasses = 2 * 48;

std::size_t round_up(std::size_t n, std::size_t to) { return (n + to - 1) / to * to; }

/// Class c holds blocks of 64 << (c / 2), or of three halves of it for odd c.
std::size_t class_bytes(std::size_t c) { return (std::size_t{64} << (c / 2)) / 2 * (2 + c % 2); }

std::size_t class_of(std::size_t bytes) {
  if (bytes <= 64) return 0;
  const auto log = static_cast<std::size_t>(std::bit_width(bytes - 1)) - 1;  // 2^log < bytes <= 2^(log + 1)
  const std::size_t c = 2 * (log - 6) + 1;
  return class_bytes(c) >= bytes ? c : c + 1;
}

/// MemAvailable of /proc/meminfo: what can be had without swapping. Where the system does not tell, everything.
std::size_t available_memory() {
  std::ifstream in("/proc/meminfo");
  for (std::string line; std::getline(in, line);)
    if (line.starts_with("MemAvailable:")) return std::stoull(line.substr(13)) << 10;
  return SIZE_MAX;
}

class CpuAllocator final : public Allocator {
 public:
  ~CpuAllocator() override {
    for (const auto& m : mappings_) munmap(m.start, m.bytes);
  }

  void* acquire(std::size_t bytes) override {
    const std::size_t c = class_of(bytes);
    const std::lock_guard lock(mutex_);
    auto& list = free_[c];
    if (list.empty()) refill(c);
    void* block = list.back();
    list.pop_back();
    in_use_ += class_bytes(c);
    peak_ = std::max(peak_, in_use_);
    return block;
  }

  void release(void* pointer, std::size_t bytes) noexcept override {
    const std::size_t c = class_of(bytes);
    const std::lock_guard lock(mutex_);
    free_[c].push_back(pointer);  // capacity was reserved when the block was made
    in_use_ -= class_bytes(c);
  }

  kernels::Device device() const override { return {}; }
  std::size_t bytes_in_use() const override { return locked(in_use_); }
  std::size_t bytes_mapped() const override { return locked(mapped_); }
  std::size_t peak_bytes() const override { return locked(peak_); }

 private:
  struct Mapping {
    void* start;
    std::size_t bytes;
  };

  std::size_t locked(const std::size_t& value) const {
    const std::lock_guard lock(mutex_);
    return value;
  }

  void refill(std::size_t c) {
    const std::size_t size = round_up(class_bytes(c), 64);  // a class of 96 bytes would break the alignment
    const std::size_t bytes = size >= kSlab ? round_up(size, kHuge) : kSlab;
    auto* start = static_cast<std::byte*>(map(bytes));
    const std::size_t count = size >= kSlab ? 1 : bytes / size;
    made_[c] += count;
    free_[c].reserve(made_[c]);
    for (std::size_t i = count; i-- > 0;) free_[c].push_back(start + i * size);
  }

  [[noreturn]] void throw_out_of_memory(std::size_t bytes) const {
    throw DeviceError("out of memory: " + std::to_string(bytes >> 20) + " MiB asked for, " + std::to_string(in_use_ >> 20) +
                      " MiB in use, " + std::to_string(available_memory() >> 20) +
                      " MiB free on this machine; lower train.micro_batch or the model's sizes");
  }

  void* map(std::size_t bytes) {
    // Linux promises more than there is and ends the process when the pages are touched: ask first.
    if (bytes > available_memory()) throw_out_of_memory(bytes);
    // One huge page more than asked, so that a 2 MiB boundary lies inside; the ends go back.
    const std::size_t asked = bytes + kHuge;
    void* raw = mmap(nullptr, asked, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (raw == MAP_FAILED) throw_out_of_memory(bytes);
    const auto address = reinterpret_cast<std::uintptr_t>(raw);
    const std::size_t head = round_up(address, kHuge) - address;
    if (head > 0) munmap(raw, head);
    if (kHuge - head > 0) munmap(static_cast<std::byte*>(raw) + head + bytes, kHuge - head);
    auto* start = static_cast<std::byte*>(raw) + head;
    madvise(start, bytes, MADV_HUGEPAGE);  // advice: a kernel without huge pages maps small ones
    for (std::size_t i = 0; i < bytes; i += 4096) *reinterpret_cast<volatile char*>(start + i) = 0;
    mappings_.push_back({start, bytes});
    mapped_ += bytes;
    return start;
  }

  mutable std::mutex mutex_;
  std::array<std::vector<void*>, kClasses> free_;
  std::array<std::size_t, kClasses> made_{};
  std::vector<Mapping> mappings_;
  std::size_t in_use_ = 0, mapped_ = 0, peak_ = 0;
};

}  // namespace

const char* name_of(Purpose purpose) {
  switch (purpose) {
    case Purpose::kActivations: return "activations";
    case Purpose::kParameters: return "parameters";
    case Purpose::kGradients: return "gradients";
    case Purpose::kOptimizer: return "optimiser";
    case Purpose::kBatch: return "batches";
    case Purpose::kCache: return "keys and values";
    case Purpose::kWorkspace: return "workspace";
  }
  return "";
}

std::size_t cpu_block_bytes(std::size_t bytes) { return bytes == 0 ? 0 : class_bytes(class_of(bytes)); }

std::unique_ptr<Allocator> make_cpu_allocator() { return std::make_unique<CpuAllocator>(); }

Allocator& host_allocator() {
  static CpuAllocator allocator;
  return allocator;
}

}  // namespace tradewind::runtime
