#include "runtime/core/context.h"

#include <sched.h>

#include <array>
#include <thread>

namespace tradewind::runtime {

int available_cores() {
  cpu_set_t set;
  CPU_ZERO(&set);
  if (sched_getaffinity(0, sizeof(set), &set) == 0) return CPU_COUNT(&set);
  return static_cast<int>(std::thread::hardware_concurrency());
}

namespace {

/// The workspace of launches, as far as the question goes who holds the memory.
class Workspace final : public kernels::Scratch {
 public:
  explicit Workspace(Allocator& allocator) : allocator_(allocator) {}
  void* acquire(std::size_t bytes) override { return allocator_.acquire_for(bytes, Purpose::kWorkspace); }
  void release(void* p, std::size_t bytes) noexcept override { allocator_.release(p, bytes); }

 private:
  Allocator& allocator_;
};

/// The device's copy of the step's scalars. What the host has written goes through pinned slots in turn, each used again when
/// its copy is over.
class PublishedStepState {
 public:
  PublishedStepState(Allocator& device, kernels::Stream stream) : stream_(stream) {
    published_ = Tensor(device, {sizeof(kernels::StepState)}, DType::kUInt8);
    for (Slot& slot : slots_)
      slot.state = static_cast<kernels::StepState*>(runtime_.allocate_pinned(sizeof(kernels::StepState)));
  }
  ~PublishedStepState() {
    for (const Slot& slot : slots_)
      if (slot.state != nullptr) runtime_.release_pinned(slot.state);
  }
  PublishedStepState(const PublishedStepState&) = delete;
  PublishedStepState& operator=(const PublishedStepState&) = delete;

  const kernels::StepState* get() const { return static_cast<const kernels::StepState*>(published_.raw()); }
  void publish(const kernels::StepState& state) {
    Slot& slot = slots_[turn_];
    turn_ = (turn_ + 1) % slots_.size();
    runtime_.wait_for_event(slot.sent.get());
    *slot.state = state;
    runtime_.copy_to_device(published_.raw(), slot.state, sizeof state, stream_);
    runtime_.record(slot.sent.get(), stream_);
  }

 private:
  struct Slot {
    kernels::StepState* state = nullptr;
    kernels::DeviceEvent sent;
  };
  kernels::DeviceRuntime& runtime_ = kernels::cuda_runtime();
  kernels::Stream stream_;
  Tensor published_;
  std::array<Slot, 4> slots_;  // two are published a step
  std::size_t turn_ = 0;
};

/// Made the thread's device before anything is asked of it.
struct InUse {
  explicit InUse(int index) {
    if (const std::string why = kernels::why_no_cuda(index); !why.empty()) throw DeviceError("device = \"cuda\": " + why);
    kernels::cuda_runtime().use(index);
  }
};

}  // namespace

struct Context::Gpu {
  explicit Gpu(Device device)
      : in_use(device.index),
        pinned(make_pinned_allocator()),
        memory(make_device_allocator(device, stream.get())),
        workspace(*memory),
        step_state(*memory, stream.get()) {}

  InUse in_use;
  kernels::DeviceStream stream;
  std::unique_ptr<Allocator> pinned, memory;
  Workspace workspace;
  PublishedStepState step_state;
};

Context::Context(Device device, int threads, std::uint64_t seed, DType compute)
    : device_(device), threads_(threads > 0 ? threads : available_cores()), compute_(compute) {
  require(compute == DType::kFloat32 || compute == DType::kBFloat16, "Context", "computes in float32 or bfloat16");
  step_state_.seed = seed;
  if (device.type == DeviceType::kCpu) {
    require(compute == DType::kFloat32, "Context", "the CPU kernels compute in float32");
    allocator_ = make_cpu_allocator();
    return;
  }
  gpu_ = std::make_unique<Gpu>(device);
  publish_step_state();
}

Context::~Context() {
  try {
    wait();                          // nothing that is on its way may find its memory gone
  } catch (const std::exception&) {  // NOLINT(bugprone-empty-catch): the device is broken; whoever called last has said so
  }
}

Allocator& Context::allocator() const { return gpu_ ? *gpu_->memory : *allocator_; }

void Context::publish_step_state() {
  if (gpu_) gpu_->step_state.publish(step_state_);
}

void Context::wait() const {
  if (gpu_) kernels::cuda_runtime().wait_for_stream(gpu_->stream.get());
}

kernels::Stream Context::stream() const { return gpu_ ? gpu_->stream.get() : nullptr; }

Allocator& Context::pinned() const {
  require(gpu_ != nullptr, "Context::pinned", "only beside a GPU");
  return *gpu_->pinned;
}

kernels::Launch Context::host_launch() const {
  if (!gpu_) return launch();
  return {.step = &step_state_, .threads = threads_, .stable_rows = stable_rows_};
}

kernels::Launch Context::launch() const {
  kernels::Launch out{.device = device_, .stream = stream(), .threads = threads_, .stable_rows = stable_rows_};
  if (gpu_) {
    out.scratch = &gpu_->workspace;
    out.step = gpu_->step_state.get();
  } else {
    out.scratch = allocator_.get();
    out.step = &step_state_;
  }
  return out;
}

}  // namespace tradewind::runtime
