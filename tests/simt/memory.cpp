#include "tests/simt/memory.h"

#include <sys/mman.h>

#include <algorithm>
#include <cstring>
#include <string_view>

namespace tradewind::simt {
namespace {

template <class T>
T* reserve(std::size_t count) {
  void* p = mmap(nullptr, count * sizeof(T), PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (p == MAP_FAILED) throw std::runtime_error("simt: no address space for " + std::to_string(count * sizeof(T)) + " bytes");
  return static_cast<T*>(p);
}

/// The part of the 4-byte word at `word` that [at, at + bytes) covers, a bit a byte.
std::uint8_t mask_of(std::size_t word, std::size_t at, std::size_t bytes) {
  std::uint8_t mask = 0;
  for (std::size_t i = 0; i < 4; ++i)
    if (word * 4 + i >= at && word * 4 + i < at + bytes) mask |= static_cast<std::uint8_t>(1U << i);
  return mask;
}

bool same_warp(const Access& a, const Access& b) {
  return a.operation == b.operation && a.block == b.block && a.thread / 32 == b.thread / 32;
}

}  // namespace

std::string to_string(const Where& where) {
  const std::string_view file = where.file_name;
  const std::size_t slash = file.rfind('/');
  return std::string(slash == std::string_view::npos ? file : file.substr(slash + 1)) + ":" + std::to_string(where.line);
}

Region::Region(std::string name, std::size_t bytes, bool of_a_block)
    : name_(std::move(name)),
      of_a_block_(of_a_block),
      size_(bytes),
      base_(reserve<std::byte>(bytes)),
      states_(reserve<State>(bytes)),
      words_(reserve<Word>(bytes / 4 + 1)) {}

Region::~Region() {
  munmap(base_, size_);
  munmap(states_, size_);
  munmap(words_, (size_ / 4 + 1) * sizeof(Word));
}

void Region::set_state(const void* p, std::size_t bytes, State state) {
  std::memset(states_ + offset(p), static_cast<int>(state), bytes);
}

void Region::poison(void* p, std::size_t bytes, State state) {
  std::memset(p, 0xFF, bytes);
  set_state(p, bytes, state);
}

void Region::fault_at(std::size_t at, std::size_t bytes, const char* doing, const Observer& by, const Where& where) const {
  const char* why = "";
  switch (states_[at]) {
    case State::kValid: why = "is valid"; break;
    case State::kUninitialised: why = "was never written (uninitialised)"; break;
    case State::kPending: why = "is the target of an asynchronous copy that was not waited for"; break;
    case State::kRedZone: why = "is out of bounds"; break;
    case State::kFreed: why = "was freed (use after free)"; break;
  }
  throw Fault(by.name() + ": " + doing + " of " + std::to_string(bytes) + " bytes at " + to_string(where) + ": byte " +
              std::to_string(at) + " of " + name_ + " " + why);
}

void Region::race(std::size_t at, const Access& earlier, const char* earlier_did, const char* doing, const Observer& by,
                  const Where& where) const {
  const Access now = by.access();
  std::string other = earlier.block == 0xFFFFFFFFU
                          ? "a copy"
                          : "thread " + std::to_string(earlier.thread) + " of block " + std::to_string(earlier.block);
  std::string remedy = "no barrier orders them";
  if (earlier.operation != now.operation) {
    other += " of another operation";
    remedy = "no stream order or event orders them (missing event wait?)";
  } else if (earlier.block != now.block) {
    remedy = "nothing orders blocks of one kernel";
  }
  throw Fault(by.name() + ": race: " + doing + " at " + to_string(where) + " of byte " + std::to_string(at) + " of " + name_ +
              ", which " + other + " " + earlier_did + " at " + to_string(earlier.where) + "; " + remedy);
}

void Region::check_range(const void* p, std::size_t bytes, std::size_t alignment, const char* doing, const Observer& by,
                         const Where& where) const {
  const std::size_t at = offset(p);
  if (at >= size_ || at + bytes > size_)
    throw Fault(by.name() + ": " + doing + " at " + to_string(where) + ": the address is not in " + name_ +
                " (a host pointer, or far out of bounds)");
  if (at % alignment != 0)
    throw Fault(by.name() + ": misaligned " + doing + " of " + std::to_string(bytes) + " bytes at " + to_string(where) +
                ": byte " + std::to_string(at) + " of " + name_ + ", expected a multiple of " + std::to_string(alignment));
}

bool Region::races(const Access& earlier, const Access& now, const Observer& by) const {
  if (earlier.operation == 0 || (earlier.bytes & now.bytes) == 0) return false;
  if (of_a_block_ && (earlier.operation != now.operation || earlier.block != now.block)) return false;
  return !by.after(earlier);
}

void Region::check_read(const void* p, std::size_t bytes, std::size_t alignment, const Observer& by, const Where& where) {
  check_range(p, bytes, alignment, "read", by, where);
  const std::size_t at = offset(p);
  for (std::size_t i = at; i < at + bytes; ++i)
    if (states_[i] != State::kValid) fault_at(i, bytes, "read", by, where);
  Access now = by.access();
  now.where = where;
  for (std::size_t word = at / 4; word * 4 < at + bytes; ++word) {
    now.bytes = mask_of(word, at, bytes);
    Word& w = words_[word];
    if (races(w.write, now, by)) race(word * 4, w.write, "wrote", "read", by, where);
    if (!same_warp(w.read, now)) w.other_read = w.read;
    w.read = now;
  }
}

void Region::record_write(std::size_t at, std::size_t bytes, const Observer& by, const Where& where) {
  Access now = by.access();
  now.where = where;
  for (std::size_t word = at / 4; word * 4 < at + bytes; ++word) {
    now.bytes = mask_of(word, at, bytes);
    Word& w = words_[word];
    if (races(w.write, now, by)) race(word * 4, w.write, "wrote", "write", by, where);
    if (races(w.read, now, by)) race(word * 4, w.read, "read", "write", by, where);
    if (races(w.other_read, now, by)) race(word * 4, w.other_read, "read", "write", by, where);
    w.write = now;
  }
}

void Region::check_write(void* p, std::size_t bytes, std::size_t alignment, const Observer& by, const Where& where) {
  check_range(p, bytes, alignment, "write", by, where);
  const std::size_t at = offset(p);
  for (std::size_t i = at; i < at + bytes; ++i) {
    if (states_[i] != State::kUninitialised && states_[i] != State::kValid) fault_at(i, bytes, "write", by, where);
    states_[i] = State::kValid;
  }
  record_write(at, bytes, by, where);
}

void Region::check_copy_target(void* p, std::size_t bytes, const Observer& by, const Where& where) {
  check_range(p, bytes, bytes, "asynchronous copy", by, where);
  const std::size_t at = offset(p);
  for (std::size_t i = at; i < at + bytes; ++i)
    if (states_[i] != State::kUninitialised && states_[i] != State::kValid) fault_at(i, bytes, "asynchronous copy", by, where);
  record_write(at, bytes, by, where);
  poison(p, bytes, State::kPending);
}

void Region::complete_copy(void* p, std::size_t bytes, const Observer& by, const Where& where) {
  set_state(p, bytes, State::kValid);
  Access now = by.access();
  now.where = where;
  for (std::size_t word = offset(p) / 4; word * 4 < offset(p) + bytes; ++word) {
    now.bytes = 0xF;
    words_[word].write = now;
  }
}

void Region::check_quiet(const void* p, std::size_t bytes, const Observer& by, const char* doing) const {
  const std::size_t at = offset(p);
  for (std::size_t word = at / 4; word * 4 < at + bytes; ++word) {
    const Word& w = words_[word];
    for (const Access* a : {&w.write, &w.read, &w.other_read})
      if (a->operation != 0 && !by.after(*a)) race(word * 4, *a, a == &w.write ? "wrote" : "read", doing, by, Where::current());
  }
}

}  // namespace tradewind::simt
