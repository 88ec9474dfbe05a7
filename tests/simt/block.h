// One block of a running kernel: a fiber a thread, and the meaning of everything that threads do together.
//
// A thread runs until it waits: for its warp (shuffles, votes, sync_warp, ldmatrix, mma), for a barrier, or for its end. The
// last one to come does what is done together, for all, and goes on; the others become runnable. Where no thread can run and
// some have not ended, that is a deadlock, and the fault says who waits for what.
//
// Order in memory: each warp counts epochs, and knows for each other warp the epoch up to which a barrier has shown it
// everything. Only barriers and sync_warp order memory; shuffles, votes, ldmatrix and mma do not.
#pragma once

#include <array>
#include <boost/context/fiber.hpp>
#include <deque>
#include <exception>
#include <vector>

#include "tests/simt/machine.h"

namespace tradewind::simt {

/// What the lanes of a warp do together.
enum class Meeting : std::uint8_t { kSync, kShuffle, kVote, kMatrices, kMma };

/// What a lane brings: the meaning of the pointers is the meeting's.
struct Brought {
  const void* in = nullptr;
  void* out = nullptr;
  int number = 0;
};

/// Computes for all lanes of the mask.
using Together = void (*)(std::uint32_t mask, std::array<Brought, 32>& lanes);

class Block final : public Observer {
 public:
  Block(Machine& machine, const Kernel& kernel, kernels::Index3 index, std::uint32_t operation);
  ~Block() override;
  Block(const Block&) = delete;
  Block& operator=(const Block&) = delete;
  void run();

  /// The block whose thread is running. Throws where device code is called outside a kernel.
  static Block& current();

  // What device.h calls, for the running thread.
  const Kernel& kernel() const { return kernel_; }
  kernels::Index3 index() const { return index_; }
  kernels::Index3 thread_index() const;
  int linear_thread() const { return running_; }
  void meet(Meeting kind, std::uint32_t mask, const Brought& brought, Together together, const Where& where);
  void sync_block(const Where& where);
  void sync_named(int id, int threads, bool wait, const Where& where);
  void copy_async(void* shared, const void* global, bool valid, const Where& where);
  void copy_async_commit();
  void copy_async_wait(std::size_t left);
  void check_read(const void* p, std::size_t bytes, std::size_t alignment, const Where& where);
  void check_write(void* p, std::size_t bytes, std::size_t alignment, const Where& where);
  [[noreturn]] void fault(const std::string& what, const Where& where) const;

  Access access() const override;
  bool after(const Access& earlier) const override;
  std::string name() const override;

 private:
  using Clock = std::array<std::uint32_t, 32>;
  struct Copy {
    void* shared;
    const void* global;
    bool valid;
    Where where;
  };
  struct Thread {
    boost::context::fiber fiber{}, scheduler{};
    void* stack = nullptr;
    void* shadow = nullptr;    // AddressSanitizer's, while another stack is in use
    std::vector<Copy> open{};  // copies of the group that is not closed yet
    std::deque<std::vector<Copy>> groups{};
    Where waits_at{};
    const char* waits_for = nullptr;  // null: runs
    bool ended = false;
  };
  struct WarpMeeting {
    Meeting kind;
    std::uint32_t mask, arrived;
    Together together;
    std::array<Brought, 32> lanes;  // of those that have arrived
    Where where;
  };
  struct Barrier {
    int expected = 0, arrived = 0;
    std::vector<int> waiting{};
    std::uint32_t warps = 0;
    Clock shown{};
    Where where{};
  };

  int pick();
  void wait(const char* for_what, const Where& where);
  void wake(int thread);
  void make_fiber(int thread);
  void resume(int thread);
  void end_thread(int thread);
  void arrive(Barrier& barrier, bool waits, const Where& where);
  void complete(Barrier& barrier);
  void finish_copies(std::vector<Copy>& group);
  [[noreturn]] void deadlock() const;
  void cancel();

  Machine& machine_;
  const Kernel& kernel_;
  kernels::Index3 index_;
  std::uint32_t operation_, block_number_, random_state_;
  int count_, ended_ = 0, running_ = -1, ahead_ = -1;
  std::vector<Thread> threads_;
  std::array<std::uint32_t, 32> runnable_{};  // a bit a lane
  std::array<std::uint32_t, 32> present_{};   // a bit a lane that has not ended
  std::uint32_t runnable_warps_ = 0;
  std::array<std::vector<WarpMeeting>, 32> meetings_{};
  std::array<Barrier, 16> barriers_{};
  std::array<Clock, 32> clocks_{};  // [warp][other]: own epoch on the diagonal
  std::exception_ptr fault_{};
  bool cancelled_ = false;
};

}  // namespace tradewind::simt
