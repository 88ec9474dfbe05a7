// A device on the CPU: global memory, streams, and the kernels that run on it. One at a time a thread: device code and the host
// functions of stream.cuh act on Machine::current().
//
//   Machine machine({.seed = 3, .schedule = Schedule::kWarpAhead});
//   ... call launchers with device pointers from device_allocate() ...
//   stream_synchronize(stream);    // here things happen, and Fault is thrown where something is wrong
//
// An operation (kernel, copy, fill, free) waits in its stream until the host waits for something. Then operations run one by
// one: of those whose dependencies are done, the seed picks the next, whichever stream it is in. What is not needed may run or
// not.
#pragma once

#include <functional>
#include <map>
#include <memory>
#include <random>
#include <set>
#include <string>
#include <vector>

#include "kernels/cuda/device/types.cuh"
#include "tests/simt/memory.h"

namespace tradewind::simt {

/// kRandom: any thread may go next. kWarpAhead: one warp goes on until all its threads wait, then another is picked: finds the
/// trailing barrier that is missing. (Races are found under both; the schedules also change what wrong code computes.)
enum class Schedule : std::uint8_t { kRandom, kWarpAhead };

struct Options {
  std::uint64_t seed = 1;
  Schedule schedule = Schedule::kRandom;
  std::size_t memory = std::size_t{1} << 28;
  std::size_t shared_limit = 227 * 1024;             // most a block may have; sm_80: 163 KiB, sm_90: 227 KiB
  std::size_t capacity = 0;                          // most bytes at a time; 0: as much as there is memory
  int devices = 1, driver = 13000, capability = 90;  // what a program that asks is told
};

/// A kernel launch as the block runner sees it.
struct Kernel {
  std::string name;
  kernels::Index3 grid, block;
  std::size_t shared_bytes = 0;
  std::function<void()> body;                       // one thread
  std::vector<std::vector<std::byte>> arguments{};  // the bytes of each
};

struct Operation {
  std::string name;
  int stream = 0;
  std::vector<std::uint32_t> after{};        // operations that must be done
  std::vector<std::uint64_t> seen{};         // a vector clock over streams: which operations of each come before
  std::function<void(std::uint32_t)> run{};  // given the operation's number
  std::shared_ptr<const Kernel> kernel{};    // null for copies and the like
  bool done = false;
};

/// Bytes of device memory that a library call reads or writes.
struct Span {
  const std::byte* begin;
  std::size_t bytes;
};

struct StreamState {
  int index = 0;
  std::uint32_t last = 0;             // operation; 0: none
  std::vector<std::uint32_t> also{};  // dependencies of the next operation, from event_wait
};
struct EventState {
  std::uint32_t operation = 0;
};
struct GraphState {
  std::vector<Operation> operations{};  // `after` holds 1-based positions in this list
};

class Machine {
 public:
  explicit Machine(const Options& options = {});
  ~Machine();
  Machine(const Machine&) = delete;
  Machine& operator=(const Machine&) = delete;
  /// Throws where there is none.
  static Machine& current();

  const Options& options() const { return options_; }
  Region& global() { return global_; }
  Region& shared() { return shared_; }
  std::mt19937_64& random() { return random_; }
  int operations_run() const { return operations_run_; }

  StreamState& stream(void* handle);  // null: the default stream
  void* create_stream();
  void* create_event();
  void record(void* event, void* stream);
  void wait(void* stream, void* event);
  void synchronize(void* stream);
  void synchronize();  // everything
  void wait_for_event(void* event);
  /// Where it is not done yet the seed decides whether time passes until it is.
  bool is_done(void* event);

  void* allocate(std::size_t bytes, void* stream);
  void free(void* p, void* stream);
  void copy(void* to, const void* from, std::size_t bytes, bool to_device, void* stream);
  void fill(void* p, int value, std::size_t bytes, void* stream);
  void copy_rows(void* to, std::size_t to_stride, const void* from, std::size_t from_stride, std::size_t bytes,
                 std::size_t rows, void* stream);
  /// The first `used` bytes of `whole` become uninitialised, the others a red zone. Faults where something still uses them.
  void forget(void* p, std::size_t used, std::size_t whole, void* stream);
  void* allocate_pinned(std::size_t bytes);  // full of 0xff, so that a copy that was not waited for shows
  void free_pinned(void* p);
  void enqueue(std::string name, std::function<void(std::uint32_t)> run, std::shared_ptr<const Kernel> kernel, void* stream);

  /// A call of a library: checks what it reads, computes, and checks what it has written.
  void enqueue_library(std::string name, std::vector<Span> reads, std::vector<Span> writes, std::function<void()> compute,
                       void* stream);

  void begin_capture(void* stream);
  void* end_capture(void* stream);
  void launch_graph(void* graph, void* stream);

  /// True where the access was made by an operation that is ordered before `operation`, or by `operation` itself.
  bool ordered(std::uint32_t earlier, std::uint32_t operation) const;
  /// The first one, also where nobody let it out; empty where nothing was wrong.
  const std::string& first_fault() const { return first_fault_; }
  std::size_t live_allocations() const { return live_.size() + pinned_.size(); }
  std::size_t live_bytes() const;  // of the device
  std::size_t capacity() const { return options_.capacity > 0 ? options_.capacity : options_.memory; }

 private:
  void finish(std::uint32_t operation);  // runs until it is done
  void run_one();
  std::uint32_t append(Operation operation);
  void check_red_zones(const std::string& after) const;

  Options options_;
  std::mt19937_64 random_;
  Region global_, shared_;
  std::size_t top_ = 0;  // of the memory handed out; nothing is handed out twice
  std::map<std::byte*, std::size_t> live_{};
  std::map<void*, std::unique_ptr<std::byte[]>> pinned_{};
  std::vector<Operation> operations_{1};  // operation 0 is nobody
  std::vector<std::uint32_t> waiting_{};
  std::vector<std::unique_ptr<StreamState>> streams_{};
  std::vector<std::unique_ptr<EventState>> events_{};
  std::vector<std::unique_ptr<GraphState>> graphs_{};
  GraphState* capturing_ = nullptr;
  std::vector<std::uint64_t> host_seen_{};  // what the host has waited for
  int operations_run_ = 0;
  std::string first_fault_;
};

/// The first difference between two captures of one step in kernels, shapes or by-value arguments; empty where they are the
/// same. A step captured in two states of training must be the same: what changes from step to step belongs into StepState.
std::string difference(void* graph, void* other);

/// Throws Fault for a shape that no device accepts.
void check_launch(const Kernel& kernel);

/// Runs all blocks of a kernel, in an order of the seed. Throws Fault.
void run_kernel(Machine& machine, const Kernel& kernel, std::uint32_t operation);

}  // namespace tradewind::simt
