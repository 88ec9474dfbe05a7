// Device memory that knows, for each byte, whether it may be read, and who touched it last.
//
// A Region is global memory (one a Machine) or the shared memory of a block. Every access of a kernel, and every copy, comes
// through check_read or check_write, which fault on: bytes outside any allocation, in a red zone or freed; misaligned
// addresses; reading what nobody wrote; touching the target of an asynchronous copy before it was waited for; and races, two
// accesses to the same bytes, one a write, that nothing orders: no barrier or sync_warp between the threads of a block, nothing
// at all between blocks of one kernel, no stream order or event between operations.
#pragma once

#include <cstddef>
#include <cstdint>
#include <stdexcept>
#include <string>
#include <vector>

namespace tradewind::simt {

/// A line of source. As a default argument, Where::current() is the caller's (std::source_location, which clang 14 lacks).
struct Where {
  const char* file_name = "";
  unsigned line = 0;
  static constexpr Where current(const char* file = __builtin_FILE(), unsigned at = __builtin_LINE()) { return {file, at}; }
};

/// What the executor found wrong. The message names kernel, block, thread, file and line.
class Fault : public std::runtime_error {
 public:
  using std::runtime_error::runtime_error;
};

std::string to_string(const Where& where);  // "attention.cu:120"

enum class State : std::uint8_t { kRedZone, kUninitialised, kValid, kPending, kFreed };  // fresh pages are red zones

/// One access: which operation, block and thread, at which point of the warp's time.
struct Access {
  std::uint32_t operation = 0;  // 0: none yet
  std::uint32_t block = 0;
  std::uint32_t epoch = 0;
  std::uint16_t thread = 0;
  std::uint8_t bytes = 0;  // mask of the bytes of the word
  Where where{};
};

/// Who is accessing; knows what comes before it.
class Observer {
 public:
  virtual ~Observer() = default;
  virtual Access access() const = 0;  // less bytes and where
  /// True where `earlier` is ordered before what the observer does now.
  virtual bool after(const Access& earlier) const = 0;
  virtual std::string name() const = 0;  // "kernel at x.cu:5, block 0, thread 3"
};

class Region {
 public:
  /// Reserves `bytes` of address space, all a red zone; pages come as they are touched. Memory of a block: other blocks and
  /// operations have their own, so that only accesses of one block can race.
  Region(std::string name, std::size_t bytes, bool of_a_block);
  ~Region();
  Region(const Region&) = delete;
  Region& operator=(const Region&) = delete;

  bool contains(const void* p) const { return offset(p) < size_; }
  std::byte* base() const { return base_; }
  std::size_t size() const { return size_; }

  void set_state(const void* p, std::size_t bytes, State state);
  State state_of(const void* p) const { return states_[offset(p)]; }
  /// Fills with 0xff, which is NaN as a float and out of range as an index.
  void poison(void* p, std::size_t bytes, State state);

  void check_read(const void* p, std::size_t bytes, std::size_t alignment, const Observer& by, const Where& where);
  void check_write(void* p, std::size_t bytes, std::size_t alignment, const Observer& by, const Where& where);
  /// As check_write, of bytes that become kPending.
  void check_copy_target(void* p, std::size_t bytes, const Observer& by, const Where& where);
  /// The copy has arrived: bytes are valid and written by `by` as of now.
  void complete_copy(void* p, std::size_t bytes, const Observer& by, const Where& where);
  /// Throws where an access to [p, p + bytes) is not ordered before `by`.
  void check_quiet(const void* p, std::size_t bytes, const Observer& by, const char* doing) const;

 private:
  struct Word {
    Access write, read, other_read;  // other_read: the last reader of another warp or block than read
  };
  std::size_t offset(const void* p) const {
    return static_cast<std::size_t>(static_cast<const std::byte*>(p) - base_);  // wraps far out of range below base_
  }
  void check_range(const void* p, std::size_t bytes, std::size_t alignment, const char* doing, const Observer& by,
                   const Where& where) const;
  bool races(const Access& earlier, const Access& now, const Observer& by) const;
  void record_write(std::size_t at, std::size_t bytes, const Observer& by, const Where& where);
  [[noreturn]] void fault_at(std::size_t at, std::size_t bytes, const char* doing, const Observer& by,
                             const Where& where) const;
  [[noreturn]] void race(std::size_t at, const Access& earlier, const char* earlier_did, const char* doing, const Observer& by,
                         const Where& where) const;

  std::string name_;
  bool of_a_block_;
  std::size_t size_;
  std::byte* base_;
  State* states_;
  Word* words_;
};

}  // namespace tradewind::simt
