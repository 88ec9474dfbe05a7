// Memory of a GPU, and the pinned memory of the host that copies go through. Both keep what they have mapped.
//
// Size classes: eight to a power of two, from 512 bytes, so at most an eighth is unused. A block is one cudaMalloc (which packs
// small ones into pages of 2 MiB by itself), so that the executor sees what is read or written beside one. A free block is
// taken at once by what comes later in the allocator's stream; one that another stream uses as well waits until that is over,
// which is asked for, not waited for. Where the device is full, what is free goes back to it, and the request is tried again.
#include <algorithm>
#include <array>
#include <bit>
#include <map>
#include <set>
#include <string>
#include <unordered_map>
#include <vector>

#include "kernels/base/error.h"
#include "runtime/core/allocator.h"

namespace tradewind::runtime {
namespace {

using kernels::Event;
using kernels::Stream;

std::size_t class_bytes(std::size_t bytes) {
  const std::size_t step = std::max<std::size_t>(512, std::bit_floor(bytes) / 8);
  return std::max<std::size_t>(1, (bytes + step - 1) / step) * step;
}

class BlockCache : public Allocator {
 public:
  ~BlockCache() override {
    for (const Event e : events_) runtime_.destroy_event(e);
    for (const Pending& p : pending_) runtime_.destroy_event(p.event);
  }
  BlockCache(const BlockCache&) = delete;
  BlockCache& operator=(const BlockCache&) = delete;

  void* acquire(std::size_t bytes) final { return acquire_for(bytes, Purpose::kActivations); }

  void* acquire_for(std::size_t bytes, Purpose purpose) final {
    const std::size_t whole = class_bytes(bytes);
    collect();
    auto& list = free_[whole];
    void* p = nullptr;
    if (!list.empty()) {
      p = *list.begin();
      list.erase(list.begin());
    } else {
      p = map(whole, bytes);
      mapped_ += whole;
    }
    blocks_[p] = {.bytes = whole, .purpose = purpose, .uses = {}};
    held_[static_cast<std::size_t>(purpose)] += whole;
    in_use_ += whole;
    peak_ = std::max(peak_, in_use_);
    on_acquire(p, bytes, whole);
    return p;
  }

  void release(void* p, std::size_t) noexcept final {
    const auto found = blocks_.find(p);
    if (found == blocks_.end()) return;  // nobody's: a bug that the executor would show
    Block block = std::move(found->second);
    blocks_.erase(found);
    held_[static_cast<std::size_t>(block.purpose)] -= block.bytes;
    in_use_ -= block.bytes;
    if (block.uses.empty()) {
      free_[block.bytes].insert(p);
      return;
    }
    waiting_[p] = block.uses.size();
    for (const Use& use : block.uses) {
      try {
        runtime_.record(use.event, use.stream);
      } catch (const std::exception&) {  // NOLINT(bugprone-empty-catch): the device is broken, and the next call will say so
      }
      pending_.push_back({use.event, p, block.bytes});
    }
  }

  void record_use(void* p, Stream s) final {
    if (is_home(s)) return;
    auto& uses = blocks_.at(p).uses;
    if (std::ranges::none_of(uses, [&](const Use& u) { return u.stream == s; })) uses.push_back({s, take_event()});
  }

  std::size_t bytes_in_use() const final { return in_use_; }
  std::size_t bytes_mapped() const final { return mapped_; }
  std::size_t peak_bytes() const final { return peak_; }

 protected:
  explicit BlockCache(kernels::DeviceRuntime& runtime) : runtime_(runtime) {}
  virtual bool is_home(Stream s) const = 0;  // uses of this stream need no event
  virtual void* map(std::size_t whole, std::size_t asked) = 0;
  virtual void unmap(void* p) noexcept = 0;
  virtual void on_acquire(void* /*p*/, std::size_t /*bytes*/, std::size_t /*whole*/) {}

  kernels::DeviceRuntime& runtime() const { return runtime_; }

  /// Gives back what nobody holds. Returns whether there was anything.
  bool trim() {
    for (const Pending& p : pending_) runtime_.wait_for_event(p.event);
    collect();
    bool any = false;
    for (auto& [bytes, list] : free_) {
      for (void* p : list) {
        unmap(p);
        mapped_ -= bytes;
        any = true;
      }
      list.clear();
    }
    return any;
  }

  void trim_quietly() noexcept {
    try {
      trim();
    } catch (const std::exception&) {  // NOLINT(bugprone-empty-catch): the device is broken; whoever called last has said so
    }
  }

  /// "parameters 475.0 MiB, activations 3120.5 MiB, ..."
  std::string holders() const {
    std::string out;
    for (int i = 0; i < kPurposes; ++i)
      if (const std::size_t bytes = held_[static_cast<std::size_t>(i)]; bytes > 0)
        out += (out.empty() ? "" : ", ") + std::string(name_of(static_cast<Purpose>(i))) + " " + mebibytes(bytes);
    return out.empty() ? "nothing" : out;
  }
  static std::string mebibytes(std::size_t bytes) {
    const std::size_t tenths = (bytes * 10 + (std::size_t{1} << 19)) >> 20;
    return std::to_string(tenths / 10) + "." + std::to_string(tenths % 10) + " MiB";
  }

 private:
  struct Use {
    Stream stream;
    Event event;
  };
  struct Block {
    std::size_t bytes;
    Purpose purpose;
    std::vector<Use> uses;  // of other streams than home
  };
  struct Pending {
    Event event;
    void* p;
    std::size_t bytes;
  };

  Event take_event() {
    if (events_.empty()) return runtime_.create_event();
    const Event e = events_.back();
    events_.pop_back();
    return e;
  }

  /// Frees the blocks whose last use on other streams is over.
  void collect() {
    std::erase_if(pending_, [this](const Pending& p) {
      if (!runtime_.is_done(p.event)) return false;
      events_.push_back(p.event);
      if (--waiting_.at(p.p) == 0) {
        waiting_.erase(p.p);
        free_[p.bytes].insert(p.p);
      }
      return true;
    });
  }

  kernels::DeviceRuntime& runtime_;
  std::map<std::size_t, std::set<void*>> free_;  // by class
  std::unordered_map<void*, Block> blocks_;      // held
  std::vector<Pending> pending_;
  std::unordered_map<void*, std::size_t> waiting_;  // events that a released block still waits for
  std::vector<Event> events_;                       // for another time
  std::array<std::size_t, kPurposes> held_{};
  std::size_t in_use_ = 0, mapped_ = 0, peak_ = 0;
};

class GpuAllocator final : public BlockCache {
 public:
  GpuAllocator(kernels::Device device, Stream stream) : BlockCache(kernels::cuda_runtime()), device_(device), stream_(stream) {}
  ~GpuAllocator() override { trim_quietly(); }
  kernels::Device device() const override { return device_; }
  Stream stream() const override { return stream_; }

 protected:
  bool is_home(Stream s) const override { return s == stream_; }
  void* map(std::size_t whole, std::size_t asked) override {
    if (void* p = runtime().allocate(whole); p != nullptr) return p;
    if (trim())
      if (void* p = runtime().allocate(whole); p != nullptr) return p;
    const kernels::DeviceMemory memory = runtime().memory();
    throw DeviceError("the GPU's memory is full: " + mebibytes(asked) + " asked for, " + mebibytes(memory.free) + " of " +
                      mebibytes(memory.total) + " free. This run holds " + mebibytes(bytes_in_use()) + ": " + holders() +
                      ". Lower train.micro_batch (evaluate.batch), model.context or the model's size, or set precision = "
                      "\"bfloat16\"");
  }
  void unmap(void* p) noexcept override { runtime().release(p); }
  void on_acquire(void* p, std::size_t bytes, std::size_t whole) override { runtime().forget(p, bytes, whole, stream_); }

 private:
  kernels::Device device_;
  Stream stream_;
};

class PinnedAllocator final : public BlockCache {
 public:
  PinnedAllocator() : BlockCache(kernels::cuda_runtime()) {}
  ~PinnedAllocator() override { trim_quietly(); }
  kernels::Device device() const override { return {}; }

 protected:
  bool is_home(Stream) const override { return false; }  // who takes a block next is the host, in no stream's order
  void* map(std::size_t whole, std::size_t) override { return runtime().allocate_pinned(whole); }
  void unmap(void* p) noexcept override { runtime().release_pinned(p); }
};

}  // namespace

std::unique_ptr<Allocator> make_device_allocator(kernels::Device device, Stream stream) {
  return std::make_unique<GpuAllocator>(device, stream);
}

std::unique_ptr<Allocator> make_pinned_allocator() { return std::make_unique<PinnedAllocator>(); }

}  // namespace tradewind::runtime
