#include "tests/simt/machine.h"

#include <algorithm>
#include <cstring>
#include <utility>

namespace tradewind::simt {
namespace {

thread_local Machine* current_machine = nullptr;

constexpr std::size_t kRedZoneBytes = 256;
constexpr std::byte kRedZoneByte{0xA5};

/// A copy, fill or free, as an observer of the memory it touches.
class OperationObserver final : public Observer {
 public:
  OperationObserver(const Machine& machine, std::uint32_t operation, std::string name)
      : machine_(machine), operation_(operation), name_(std::move(name)) {}
  Access access() const override { return {.operation = operation_, .block = 0xFFFFFFFFU}; }
  bool after(const Access& earlier) const override { return machine_.ordered(earlier.operation, operation_); }
  std::string name() const override { return name_; }

 private:
  const Machine& machine_;
  std::uint32_t operation_;
  std::string name_;
};

}  // namespace

Machine::Machine(const Options& options)
    : options_(options),
      random_(options.seed),
      global_("global memory", options.memory, false),
      shared_("shared memory", options.shared_limit + 4096, true) {
  if (current_machine != nullptr) throw std::logic_error("simt: one Machine at a time a thread");
  current_machine = this;
  streams_.push_back(std::make_unique<StreamState>());
  operations_[0].done = true;
}

Machine::~Machine() { current_machine = nullptr; }

Machine& Machine::current() {
  if (current_machine == nullptr) throw Fault("there is no simt::Machine: declare one before calling CUDA launchers");
  return *current_machine;
}

StreamState& Machine::stream(void* handle) { return handle == nullptr ? *streams_[0] : *static_cast<StreamState*>(handle); }

void* Machine::create_stream() {
  streams_.push_back(std::make_unique<StreamState>());
  streams_.back()->index = static_cast<int>(streams_.size()) - 1;
  return streams_.back().get();
}

void* Machine::create_event() { return events_.emplace_back(std::make_unique<EventState>()).get(); }

void Machine::record(void* event, void* handle) { static_cast<EventState*>(event)->operation = stream(handle).last; }

void Machine::wait(void* handle, void* event) {
  const std::uint32_t operation = static_cast<EventState*>(event)->operation;
  if (operation != 0) stream(handle).also.push_back(operation);
}

std::uint32_t Machine::append(Operation operation) {
  operation.seen.assign(streams_.size(), 0);
  for (std::size_t s = 0; s < host_seen_.size(); ++s) operation.seen[s] = host_seen_[s];
  for (const std::uint32_t o : operation.after) {
    const std::vector<std::uint64_t>& theirs = operations_[o].seen;
    for (std::size_t s = 0; s < theirs.size(); ++s) operation.seen[s] = std::max(operation.seen[s], theirs[s]);
  }
  const auto number = static_cast<std::uint32_t>(operations_.size());
  operation.seen[static_cast<std::size_t>(operation.stream)] = number;  // numbers rise along a stream
  operations_.push_back(std::move(operation));
  waiting_.push_back(number);
  return number;
}

void Machine::enqueue(std::string name, std::function<void(std::uint32_t)> run, std::shared_ptr<const Kernel> kernel,
                      void* handle) {
  StreamState& s = stream(handle);
  Operation operation{.name = std::move(name), .stream = s.index, .run = std::move(run), .kernel = std::move(kernel)};
  if (s.last != 0) s.also.push_back(s.last);
  operation.after = std::exchange(s.also, {});
  if (capturing_ != nullptr) {
    capturing_->operations.push_back(std::move(operation));
    s.last = static_cast<std::uint32_t>(capturing_->operations.size());
  } else {
    s.last = append(std::move(operation));
  }
}

bool Machine::ordered(std::uint32_t earlier, std::uint32_t operation) const {
  if (earlier == operation) return true;
  const auto stream = static_cast<std::size_t>(operations_[earlier].stream);
  const std::vector<std::uint64_t>& seen = operations_[operation].seen;
  return stream < seen.size() && earlier <= seen[stream];
}

void Machine::run_one() {
  std::vector<std::size_t> ready;
  for (std::size_t i = 0; i < waiting_.size(); ++i) {
    const Operation& o = operations_[waiting_[i]];
    if (std::all_of(o.after.begin(), o.after.end(), [&](std::uint32_t d) { return operations_[d].done; })) ready.push_back(i);
  }
  if (ready.empty()) throw Fault("streams: deadlock: no operation can run");
  const std::size_t i = ready[random_() % ready.size()];
  const std::uint32_t number = waiting_[i];
  waiting_.erase(waiting_.begin() + static_cast<std::ptrdiff_t>(i));
  ++operations_run_;
  operations_[number].done = true;
  const auto run = std::move(operations_[number].run);
  try {
    run(number);
    if (operations_[number].kernel != nullptr) check_red_zones(operations_[number].name);
  } catch (const Fault& fault) {
    if (first_fault_.empty()) first_fault_ = fault.what();
    throw;
  }
  operations_[number].kernel.reset();
}

void Machine::finish(std::uint32_t operation) {
  while (!operations_[operation].done) run_one();
  host_seen_.resize(std::max(host_seen_.size(), operations_[operation].seen.size()), 0);
  for (std::size_t s = 0; s < operations_[operation].seen.size(); ++s)
    host_seen_[s] = std::max(host_seen_[s], operations_[operation].seen[s]);
}

void Machine::synchronize(void* handle) {
  if (capturing_ != nullptr) throw Fault("stream_synchronize while a step is captured");
  finish(stream(handle).last);
}

void Machine::synchronize() {
  for (const auto& s : streams_) finish(s->last);
}

void Machine::wait_for_event(void* event) { finish(static_cast<EventState*>(event)->operation); }

bool Machine::is_done(void* event) {
  const std::uint32_t operation = static_cast<EventState*>(event)->operation;
  if (!operations_[operation].done && random_() % 2 == 0) return false;
  finish(operation);
  return true;
}

std::size_t Machine::live_bytes() const {
  std::size_t sum = 0;
  for (const auto& [p, bytes] : live_) sum += bytes;
  return sum;
}

void* Machine::allocate_pinned(std::size_t bytes) {
  auto memory = std::make_unique<std::byte[]>(bytes);
  std::memset(memory.get(), 0xFF, bytes);
  void* p = memory.get();
  pinned_.emplace(p, std::move(memory));
  return p;
}

void Machine::free_pinned(void* p) {
  synchronize();  // as cudaFreeHost does
  if (pinned_.erase(p) != 1) throw Fault("pinned_free of a pointer that is not allocated");
}

void* Machine::allocate(std::size_t bytes, void*) {
  if (bytes == 0) return nullptr;
  if (capturing_ != nullptr)
    throw Fault("device_allocate while a step is captured: allocate before, from the graph's own pool");
  const std::size_t whole = (bytes + 255) / 256 * 256;
  top_ += kRedZoneBytes;
  if (top_ + whole + kRedZoneBytes > global_.size())
    throw Fault("device memory is full: " + std::to_string(bytes) + " bytes asked for, " + std::to_string(top_) + " of " +
                std::to_string(global_.size()) + " handed out (nothing is handed out twice)");
  std::byte* p = global_.base() + top_;
  std::memset(p - kRedZoneBytes, static_cast<int>(kRedZoneByte), kRedZoneBytes);
  std::memset(p + bytes, static_cast<int>(kRedZoneByte), whole - bytes + kRedZoneBytes);
  global_.poison(p, bytes, State::kUninitialised);
  live_[p] = bytes;
  top_ += whole;
  return p;
}

void Machine::check_red_zones(const std::string& after) const {
  for (const auto& [p, bytes] : live_)
    for (std::size_t i = 0; i < kRedZoneBytes; ++i)
      if (p[bytes + i] != kRedZoneByte || *(p - 1 - i) != kRedZoneByte)
        throw Fault(after + ": the red zone of an allocation of " + std::to_string(bytes) +
                    " bytes was overwritten past load and store (by a raw pointer)");
}

void Machine::free(void* p, void* handle) {
  if (p == nullptr) return;
  if (live_.find(static_cast<std::byte*>(p)) == live_.end()) throw Fault("device_free of a pointer that is not allocated");
  enqueue(
      "device_free",
      [this, at = static_cast<std::byte*>(p)](std::uint32_t operation) {
        const auto found = live_.find(at);
        if (found == live_.end()) throw Fault("device_free: freed twice");
        const OperationObserver by(*this, operation, "device_free");
        global_.check_quiet(at, found->second, by, "free");
        global_.poison(at, found->second, State::kFreed);
        live_.erase(found);
      },
      nullptr, handle);
}

void Machine::copy(void* to, const void* from, std::size_t bytes, bool to_device, void* handle) {
  if (bytes == 0) return;
  const char* name = to_device ? "copy_to_device" : "copy_to_host";
  enqueue(
      name,
      [this, to, from, bytes, to_device, name](std::uint32_t operation) {
        const OperationObserver by(*this, operation, name);
        if (to_device)
          global_.check_write(to, bytes, 1, by, Where::current());
        else
          global_.check_read(from, bytes, 1, by, Where::current());
        std::memcpy(to, from, bytes);
      },
      nullptr, handle);
}

void Machine::fill(void* p, int value, std::size_t bytes, void* handle) {
  if (bytes == 0) return;
  enqueue(
      "fill_bytes",
      [this, p, value, bytes](std::uint32_t operation) {
        global_.check_write(p, bytes, 1, OperationObserver(*this, operation, "fill_bytes"), Where::current());
        std::memset(p, value, bytes);
      },
      nullptr, handle);
}

void Machine::copy_rows(void* to, std::size_t to_stride, const void* from, std::size_t from_stride, std::size_t bytes,
                        std::size_t rows, void* handle) {
  if (bytes == 0 || rows == 0) return;
  enqueue(
      "copy_rows",
      [=, this](std::uint32_t operation) {
        const OperationObserver by(*this, operation, "copy_rows");
        for (std::size_t i = 0; i < rows; ++i) {
          std::byte* const target = static_cast<std::byte*>(to) + i * to_stride;
          const std::byte* const source = static_cast<const std::byte*>(from) + i * from_stride;
          global_.check_read(source, bytes, 1, by, Where::current());
          global_.check_write(target, bytes, 1, by, Where::current());
          std::memcpy(target, source, bytes);
        }
      },
      nullptr, handle);
}

void Machine::forget(void* p, std::size_t used, std::size_t whole, void* handle) {
  enqueue(
      "allocation of a cached block",
      [this, p = static_cast<std::byte*>(p), used, whole](std::uint32_t operation) {
        global_.check_quiet(p, whole, OperationObserver(*this, operation, "allocation of a cached block"), "reuse");
        global_.poison(p, used, State::kUninitialised);
        global_.set_state(p + used, whole - used, State::kRedZone);
      },
      nullptr, handle);
}

void Machine::enqueue_library(std::string name, std::vector<Span> reads, std::vector<Span> writes,
                              std::function<void()> compute, void* handle) {
  auto run = [this, name, reads = std::move(reads), writes = std::move(writes),
              compute = std::move(compute)](std::uint32_t operation) {
    const OperationObserver by(*this, operation, name);
    for (const Span& s : reads) global_.check_read(s.begin, s.bytes, 1, by, Where::current());
    for (const Span& s : writes)
      global_.check_write(global_.base() + (s.begin - global_.base()), s.bytes, 1, by, Where::current());
    compute();
  };
  enqueue(std::move(name), std::move(run), nullptr, handle);
}

void Machine::begin_capture(void* handle) {
  if (capturing_ != nullptr) throw Fault("capture_begin inside a capture");
  synchronize();  // what ran before is not part of the graph
  for (const auto& s : streams_) s->last = 0;
  stream(handle).also.clear();
  capturing_ = graphs_.emplace_back(std::make_unique<GraphState>()).get();
}

void* Machine::end_capture(void*) {
  GraphState* graph = std::exchange(capturing_, nullptr);
  if (graph == nullptr) throw Fault("capture_end without capture_begin");
  for (const auto& s : streams_) s->last = 0, s->also.clear();
  return graph;
}

void Machine::launch_graph(void* handle, void* on) {
  const GraphState& graph = *static_cast<GraphState*>(handle);
  StreamState& s = stream(on);
  std::vector<std::uint32_t> numbers{0}, before = s.also;
  if (s.last != 0) before.push_back(s.last);
  s.also.clear();
  std::map<int, int>
      line_of;  // a stream of its own for each stream of the capture: a replay is in no order with what else is there
  for (const Operation& captured : graph.operations) {
    Operation operation = captured;
    operation.after = before;
    const auto [line, fresh] = line_of.try_emplace(captured.stream, static_cast<int>(streams_.size()));
    if (fresh) create_stream();
    operation.stream = line->second;
    for (const std::uint32_t o : captured.after) operation.after.push_back(numbers[o]);
    numbers.push_back(append(std::move(operation)));
  }
  numbers.erase(numbers.begin());
  if (numbers.empty()) return;
  Operation end{.name = "end of graph", .stream = s.index, .after = numbers, .run = [](std::uint32_t) {}};
  s.last = append(std::move(end));
}

std::string difference(void* graph, void* other) {
  const auto &a = static_cast<GraphState*>(graph)->operations, &b = static_cast<GraphState*>(other)->operations;
  if (a.size() != b.size())
    return "one capture has " + std::to_string(a.size()) + " operations, the other " + std::to_string(b.size());
  for (std::size_t i = 0; i < a.size(); ++i) {
    const std::string which = "operation " + std::to_string(i) + ", " + a[i].name + ", ";
    if (a[i].name != b[i].name || a[i].stream != b[i].stream) return which + "is " + b[i].name + " in the other capture";
    if (a[i].kernel == nullptr) continue;
    const Kernel &k = *a[i].kernel, &l = *b[i].kernel;
    const auto same = [](kernels::Index3 x, kernels::Index3 y) { return x.x == y.x && x.y == y.y && x.z == y.z; };
    if (!same(k.grid, l.grid) || !same(k.block, l.block) || k.shared_bytes != l.shared_bytes)
      return which + "has another shape in the other capture";
    for (std::size_t j = 0; j < k.arguments.size(); ++j)
      if (j >= l.arguments.size() || k.arguments[j] != l.arguments[j])
        return which + "argument " + std::to_string(j) +
               " differs between captures: a value that changes from step to step is passed by "
               "value and would be frozen in the graph; read it from StepState";
  }
  return "";
}

void check_launch(const Kernel& kernel) {
  const auto refuse = [&](const std::string& what) { throw Fault(kernel.name + ": " + what); };
  const kernels::Index3 g = kernel.grid, b = kernel.block;
  const std::uint64_t threads = std::uint64_t{b.x} * b.y * b.z;
  if (threads == 0 || threads > 1024 || b.z > 64)
    refuse("a block of " + std::to_string(threads) + " threads; 1 to 1024 are allowed");
  if (g.x == 0 || g.y == 0 || g.z == 0 || g.x > 0x7FFFFFFFU || g.y > 65535 || g.z > 65535)
    refuse("the grid is empty, or larger than 2^31 - 1 by 65535 by 65535");
  const std::size_t limit = Machine::current().options().shared_limit;
  if (kernel.shared_bytes > limit)
    refuse(std::to_string(kernel.shared_bytes) + " bytes of shared memory; the device has " + std::to_string(limit));
}

}  // namespace tradewind::simt
