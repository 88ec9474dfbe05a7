#include "tests/simt/block.h"

#include <algorithm>
#include <bit>
#include <cstring>
#include <map>

#ifdef __SANITIZE_ADDRESS__
#include <sanitizer/common_interface_defs.h>
#endif

namespace tradewind::simt {
namespace {

thread_local Block* current_block = nullptr;

constexpr std::size_t kStackBytes = 64 * 1024;

/// Stacks are kept: a kernel has a thousand blocks of the same threads.
struct StackPool {
  std::vector<void*> free{};
  StackPool() = default;
  StackPool(const StackPool&) = delete;
  StackPool& operator=(const StackPool&) = delete;
  ~StackPool() {
    for (void* p : free) ::operator delete (p, std::align_val_t{64});
  }
};
thread_local StackPool stack_pool;

struct PooledStack {
  void** stack;  // where the thread keeps its own
  boost::context::stack_context allocate() {
    void* p = nullptr;
    if (stack_pool.free.empty()) {
      p = ::operator new (kStackBytes, std::align_val_t{64});
    } else {
      p = stack_pool.free.back();
      stack_pool.free.pop_back();
    }
    *stack = p;
    boost::context::stack_context context;
    context.size = kStackBytes;
    context.sp = static_cast<char*>(p) + kStackBytes;
    return context;
  }
  void deallocate(boost::context::stack_context& context) {  // NOLINT(readability-*): Boost's name and signature
    stack_pool.free.push_back(static_cast<char*>(context.sp) - context.size);
  }
};

/// Ends the threads of a block that has failed; nobody sees it.
struct Cancelled {};

// AddressSanitizer is told of every change of stack.
#ifdef __SANITIZE_ADDRESS__
void leave_stack(void** shadow, const void* to, std::size_t bytes) { __sanitizer_start_switch_fiber(shadow, to, bytes); }
void enter_stack(void* shadow, const void** from, std::size_t* bytes) { __sanitizer_finish_switch_fiber(shadow, from, bytes); }
#else
void leave_stack(void**, const void*, std::size_t) {}
void enter_stack(void*, const void**, std::size_t*) {}
#endif
/// The stack that the scheduler runs on.
thread_local const void* scheduler_stack = nullptr;
thread_local std::size_t scheduler_stack_bytes = 0;

const char* name_of(Meeting kind) {
  switch (kind) {
    case Meeting::kSync: return "sync_warp";
    case Meeting::kShuffle: return "shuffle";
    case Meeting::kVote: return "vote";
    case Meeting::kMatrices: return "load_matrices";
    case Meeting::kMma: return "mma";
  }
  return "";
}

std::string hexadecimal(std::uint32_t x) {
  char text[16];
  std::snprintf(text, sizeof text, "0x%08x", x);
  return text;
}

bool same_place(const Where& a, const Where& b) {
  return a.line == b.line && (a.file_name == b.file_name || std::strcmp(a.file_name, b.file_name) == 0);
}

}  // namespace

Block& Block::current() {
  if (current_block == nullptr) throw Fault("device code was called outside a kernel");
  return *current_block;
}

Block::Block(Machine& machine, const Kernel& kernel, kernels::Index3 index, std::uint32_t operation)
    : machine_(machine),
      kernel_(kernel),
      index_(index),
      operation_(operation),
      block_number_(index.x + kernel.grid.x * (index.y + kernel.grid.y * index.z)),
      random_state_(static_cast<std::uint32_t>(machine.random()()) | 1U),
      count_(static_cast<int>(kernel.block.x * kernel.block.y * kernel.block.z)),
      threads_(static_cast<std::size_t>(count_)) {
  for (std::size_t w = 0; w < 32; ++w) clocks_[w][w] = 1;
}

Block::~Block() = default;

// Every thread that waits goes on with Cancelled, so that its objects go; one that has not begun ends at once.
void Block::cancel() {
  cancelled_ = true;
  for (int t = 0; t < count_; ++t) {
    running_ = t;
    if (threads_[static_cast<std::size_t>(t)].fiber) resume(t);
  }
}

kernels::Index3 Block::thread_index() const {
  const unsigned t = static_cast<unsigned>(running_);
  return {t % kernel_.block.x, t / kernel_.block.x % kernel_.block.y, t / kernel_.block.x / kernel_.block.y};
}

std::string Block::name() const {
  const kernels::Index3 t = thread_index();
  const auto triple = [](kernels::Index3 i) {
    return std::string("(") + std::to_string(i.x) + ", " + std::to_string(i.y) + ", " + std::to_string(i.z) + ")";
  };
  return kernel_.name + ", block " + triple(index_) + (running_ < 0 ? "" : ", thread " + triple(t));
}

void Block::fault(const std::string& what, const Where& where) const {
  throw Fault(name() + ": " + what + " at " + to_string(where));
}

Access Block::access() const {
  const auto warp = static_cast<std::size_t>(running_) / 32;
  return {.operation = operation_,
          .block = block_number_,
          .epoch = clocks_[warp][warp],
          .thread = static_cast<std::uint16_t>(running_)};
}

bool Block::after(const Access& earlier) const {
  if (earlier.operation != operation_) return machine_.ordered(earlier.operation, operation_);
  if (earlier.block != block_number_) return false;
  if (earlier.thread == running_) return true;
  const std::size_t mine = static_cast<std::size_t>(running_) / 32, theirs = earlier.thread / 32U;
  if (mine == theirs) return earlier.epoch < clocks_[mine][mine];
  return earlier.epoch <= clocks_[mine][theirs];
}

void Block::make_fiber(int t) {
  Thread& thread = threads_[static_cast<std::size_t>(t)];
  thread.fiber = boost::context::fiber(std::allocator_arg, PooledStack{&thread.stack},
                                       [this, &thread, t](boost::context::fiber&& scheduler) {
                                         enter_stack(nullptr, &scheduler_stack, &scheduler_stack_bytes);
                                         thread.scheduler = std::move(scheduler);
                                         try {
                                           if (cancelled_) throw Cancelled{};
                                           kernel_.body();
                                           end_thread(t);
                                         } catch (const Cancelled&) {  // NOLINT(bugprone-empty-catch)
                                         } catch (...) {
                                           fault_ = std::current_exception();
                                         }
                                         leave_stack(nullptr, scheduler_stack, scheduler_stack_bytes);
                                         return std::move(thread.scheduler);
                                       });
}

void Block::resume(int t) {
  Thread& thread = threads_[static_cast<std::size_t>(t)];
  void* shadow = nullptr;
  leave_stack(&shadow, thread.stack, kStackBytes);
  thread.fiber = std::move(thread.fiber).resume();
  enter_stack(shadow, nullptr, nullptr);
}

void Block::run() {
  for (int t = 0; t < count_; ++t) {
    make_fiber(t);
    wake(t);
    present_[static_cast<std::size_t>(t) / 32] |= 1U << (t % 32);
  }
  Block* const outer = current_block;
  current_block = this;
  while (ended_ < count_ && !fault_) {
    running_ = pick();
    if (running_ < 0) break;
    resume(running_);
  }
  const bool stuck = !fault_ && ended_ < count_;
  const std::exception_ptr fault = fault_;
  if (fault || stuck) cancel();
  current_block = outer;
  if (fault) std::rethrow_exception(fault);
  if (stuck) deadlock();
}

// The next thread to run, which is then no longer runnable; -1: none can. Bits, because this is done at every switch.
int Block::pick() {
  if (runnable_warps_ == 0) return -1;
  const auto random = [this] {  // xorshift32 (Marsaglia 2003)
    random_state_ ^= random_state_ << 13;
    random_state_ ^= random_state_ >> 17;
    random_state_ ^= random_state_ << 5;
    return random_state_;
  };
  const auto choose = [&](std::uint32_t bits) {  // one of the set bits: the first at or above a random place, around
    const int from = static_cast<int>(random() >> 27);
    return (std::countr_zero(std::rotr(bits, from)) + from) % 32;
  };
  const bool stay = machine_.options().schedule == Schedule::kWarpAhead && ahead_ >= 0 && (runnable_warps_ >> ahead_ & 1U) != 0;
  if (!stay) ahead_ = choose(runnable_warps_);
  const auto w = static_cast<std::size_t>(ahead_);
  const int lane = choose(runnable_[w]);
  runnable_[w] &= ~(1U << lane);
  if (runnable_[w] == 0) runnable_warps_ &= ~(1U << ahead_);
  return ahead_ * 32 + lane;
}

void Block::wake(int thread) {
  threads_[static_cast<std::size_t>(thread)].waits_for = nullptr;
  runnable_[static_cast<std::size_t>(thread) / 32] |= 1U << (thread % 32);
  runnable_warps_ |= 1U << (thread / 32);
}

void Block::wait(const char* for_what, const Where& where) {
  const int me = running_;
  Thread& thread = threads_[static_cast<std::size_t>(me)];
  thread.waits_for = for_what;
  thread.waits_at = where;
  leave_stack(&thread.shadow, scheduler_stack, scheduler_stack_bytes);
  thread.scheduler = std::move(thread.scheduler).resume();
  enter_stack(thread.shadow, &scheduler_stack, &scheduler_stack_bytes);
  if (cancelled_) throw Cancelled{};
}

void Block::end_thread(int t) {
  Thread& thread = threads_[static_cast<std::size_t>(t)];
  const bool in_flight =
      !thread.open.empty() || std::any_of(thread.groups.begin(), thread.groups.end(), [](const auto& g) { return !g.empty(); });
  if (in_flight)
    fault("the thread ends with asynchronous copies that were not waited for",
          thread.open.empty() ? Where::current() : thread.open[0].where);
  for (const WarpMeeting& m : meetings_[static_cast<std::size_t>(t) / 32])
    if ((m.mask >> (t % 32) & 1U) != 0)
      fault(std::string("divergence: the thread ends, but other lanes wait for it in ") + name_of(m.kind), m.where);
  if (barriers_[0].arrived > 0) fault("divergence: the thread ends, but others wait for it in sync_block", barriers_[0].where);
  thread.ended = true;
  present_[static_cast<std::size_t>(t) / 32] &= ~(1U << (t % 32));
  ++ended_;
}

void Block::meet(Meeting kind, std::uint32_t mask, const Brought& brought, Together together, const Where& where) {
  const int lane = running_ % 32, first = running_ - lane;
  const auto warp = static_cast<std::size_t>(running_) / 32;
  if ((mask >> lane & 1U) == 0)
    fault(std::string(name_of(kind)) + ": the lane is not in its own mask " + hexadecimal(mask), where);
  if ((mask & ~present_[warp]) != 0) {
    const int other = std::countr_zero(mask & ~present_[warp]);
    fault(std::string(name_of(kind)) + ": mask " + hexadecimal(mask) + " names lane " + std::to_string(other) +
              (first + other >= count_ ? ", which the block does not have" : ", which has ended (divergence)"),
          where);
  }
  std::vector<WarpMeeting>& open = meetings_[warp];
  WarpMeeting* m = nullptr;
  for (WarpMeeting& o : open) {
    if (o.mask == mask && o.kind == kind && same_place(o.where, where)) {
      m = &o;
    } else if ((o.arrived & mask) != 0 && (o.mask >> lane & 1U) != 0) {  // each waits for the other
      fault(std::string("divergence: ") + name_of(kind) + " with mask " + hexadecimal(mask) +
                ", while lanes it names wait in " + name_of(o.kind) + " with mask " + hexadecimal(o.mask) + " at " +
                to_string(o.where) + "; this one is",
            where);
    }
  }
  if (m == nullptr) {
    m = &open.emplace_back();
    m->kind = kind, m->mask = mask, m->arrived = 0, m->together = together, m->where = where;
  }
  m->arrived |= 1U << lane;
  m->lanes[static_cast<std::size_t>(lane)] = brought;
  if (m->arrived != mask) {
    wait(name_of(kind), where);
    return;
  }
  m->together(mask, m->lanes);
  if (kind == Meeting::kSync) ++clocks_[warp][warp];
  if (m != &open.back()) *m = open.back();
  open.pop_back();
  for (int other = 0; other < 32; ++other)
    if (other != lane && (mask >> other & 1U) != 0) wake(first + other);
}

void Block::arrive(Barrier& barrier, bool waits, const Where& where) {
  const auto warp = static_cast<std::size_t>(running_) / 32;
  if (barrier.arrived == 0) barrier.where = where, barrier.shown = {}, barrier.warps = 0, barrier.waiting.clear();
  for (std::size_t w = 0; w < 32; ++w) barrier.shown[w] = std::max(barrier.shown[w], clocks_[warp][w]);
  if (waits) barrier.waiting.push_back(running_), barrier.warps |= 1U << warp;
  ++barrier.arrived;
  if (!waits) ++clocks_[warp][warp];  // what it does next is not shown
}

void Block::complete(Barrier& barrier) {
  for (std::size_t w = 0; w < 32; ++w) {
    if ((barrier.warps >> w & 1U) == 0) continue;
    for (std::size_t o = 0; o < 32; ++o) clocks_[w][o] = std::max(clocks_[w][o], barrier.shown[o]);
  }
  for (std::size_t w = 0; w < 32; ++w)
    if ((barrier.warps >> w & 1U) != 0) ++clocks_[w][w];
  for (const int t : barrier.waiting)
    if (t != running_) wake(t);
  barrier.arrived = 0;
}

void Block::sync_block(const Where& where) {
  Barrier& barrier = barriers_[0];
  if (ended_ > 0) fault("divergence: sync_block, but " + std::to_string(ended_) + " threads of the block have ended", where);
  if (barrier.arrived > 0 && !same_place(barrier.where, where))
    fault("divergence: sync_block, while other threads wait in the one at " + to_string(barrier.where) + "; this one is",
          where);
  arrive(barrier, true, where);
  if (barrier.arrived < count_)
    wait("sync_block", where);
  else
    complete(barrier);
}

void Block::sync_named(int id, int threads, bool waits, const Where& where) {
  Barrier& barrier = barriers_[static_cast<std::size_t>(id)];
  if (threads % 32 != 0 || threads <= 0 || threads > (count_ + 31) / 32 * 32)
    fault("named barrier " + std::to_string(id) + " for " + std::to_string(threads) +
              " threads; expected whole warps of the block",
          where);
  if (barrier.arrived > 0 && barrier.expected != threads)
    fault("named barrier " + std::to_string(id) + " for " + std::to_string(threads) + " threads, where others expect " +
              std::to_string(barrier.expected) + " (" + to_string(barrier.where) + ")",
          where);
  barrier.expected = threads;
  arrive(barrier, waits, where);
  if (barrier.arrived == threads)
    complete(barrier);
  else if (waits)
    wait("a named barrier", where);
}

void Block::check_read(const void* p, std::size_t bytes, std::size_t alignment, const Where& where) {
  (machine_.shared().contains(p) ? machine_.shared() : machine_.global()).check_read(p, bytes, alignment, *this, where);
}

void Block::check_write(void* p, std::size_t bytes, std::size_t alignment, const Where& where) {
  (machine_.shared().contains(p) ? machine_.shared() : machine_.global()).check_write(p, bytes, alignment, *this, where);
}

void Block::copy_async(void* shared, const void* global, bool valid, const Where& where) {
  if (!machine_.shared().contains(shared)) fault("asynchronous copy: the target is not in shared memory", where);
  if (valid) machine_.global().check_read(global, 16, 16, *this, where);
  machine_.shared().check_copy_target(shared, 16, *this, where);
  threads_[static_cast<std::size_t>(running_)].open.push_back({shared, global, valid, where});
}

void Block::copy_async_commit() {
  Thread& thread = threads_[static_cast<std::size_t>(running_)];
  thread.groups.push_back(std::move(thread.open));
  thread.open.clear();
}

void Block::copy_async_wait(std::size_t left) {
  Thread& thread = threads_[static_cast<std::size_t>(running_)];
  while (thread.groups.size() > left) {
    finish_copies(thread.groups.front());
    thread.groups.pop_front();
  }
}

void Block::finish_copies(std::vector<Copy>& group) {
  for (const Copy& c : group) {
    if (c.valid)
      std::memcpy(c.shared, c.global, 16);
    else
      std::memset(c.shared, 0, 16);
    machine_.shared().complete_copy(c.shared, 16, *this, c.where);
  }
}

void Block::deadlock() const {
  std::map<std::string, int> waits;
  for (const Thread& t : threads_)
    if (!t.ended) ++waits[(t.waits_for == nullptr ? "nothing" : t.waits_for) + std::string(" at ") + to_string(t.waits_at)];
  std::string text;
  for (const auto& [what, threads] : waits) text += "; " + std::to_string(threads) + " threads wait in " + what;
  throw Fault(kernel_.name + ", block (" + std::to_string(index_.x) + ", " + std::to_string(index_.y) + ", " +
              std::to_string(index_.z) + "): deadlock: " + std::to_string(ended_) + " of " + std::to_string(count_) +
              " threads have ended" + text);
}

void run_kernel(Machine& machine, const Kernel& kernel, std::uint32_t operation) {
  std::vector<kernels::Index3> order;
  for (unsigned z = 0; z < kernel.grid.z; ++z)
    for (unsigned y = 0; y < kernel.grid.y; ++y)
      for (unsigned x = 0; x < kernel.grid.x; ++x) order.push_back({x, y, z});
  std::shuffle(order.begin(), order.end(), machine.random());
  Region& shared = machine.shared();
  shared.set_state(shared.base(), shared.size(), State::kRedZone);
  for (const kernels::Index3 index : order) {
    shared.poison(shared.base(), kernel.shared_bytes, State::kUninitialised);
    Block(machine, kernel, index, operation).run();
  }
}

}  // namespace tradewind::simt
