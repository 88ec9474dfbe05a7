#include "runtime/train/batch_stager.h"

#include <cstring>

namespace tradewind::runtime {
namespace {

constexpr std::int64_t kAlignment = 256;

std::int64_t aligned(std::size_t bytes) {
  return (static_cast<std::int64_t>(bytes) + kAlignment - 1) / kAlignment * kAlignment;
}

std::int64_t bytes_of(const StepBatch& step) {
  std::int64_t sum = 0;
  for (const Batch& batch : step.micro)
    for (const auto& [name, tensor] : batch.fields) sum += aligned(tensor.bytes());
  return sum;
}

}  // namespace

struct BatchStager::Gpu {
  struct Slot {
    Tensor pinned, device;      // uint8
    kernels::DeviceEvent sent;  // the copy is over
    kernels::DeviceEvent used;  // and so is the work on what it brought
  };
  kernels::DeviceRuntime& runtime = kernels::cuda_runtime();
  kernels::DeviceStream stream;
  std::array<Slot, 2> slots;
  std::size_t current = 1;
  bool first = true;
};

BatchStager::BatchStager(Context& context) : context_(context) {
  if (context.device().type == DeviceType::kCuda) gpu_ = std::make_unique<Gpu>();
}

BatchStager::~BatchStager() = default;

StepBatch BatchStager::stage(StepBatch step) {
  if (!gpu_) return step;
  Gpu& gpu = *gpu_;
  if (!gpu.first) gpu.runtime.record(gpu.slots[gpu.current].used.get(), context_.stream());
  gpu.first = false;
  gpu.current = 1 - gpu.current;
  Gpu::Slot& slot = gpu.slots[gpu.current];
  const std::int64_t bytes = bytes_of(step);
  gpu.runtime.wait_for_event(slot.sent.get());  // of two steps ago: the pinned memory is free
  if (!slot.pinned.defined() || slot.pinned.elements() < bytes) {
    slot.pinned = slot.device = Tensor();
    slot.pinned = Tensor(context_.pinned(), {bytes}, DType::kUInt8);
    slot.device = context_.tensor({bytes}, DType::kUInt8, Purpose::kBatch);
    slot.device.record_use(gpu.stream.get());
    gpu.runtime.record(slot.used.get(), context_.stream());  // whoever had the memory before
  }
  std::int64_t at = 0;
  for (Batch& batch : step.micro)
    for (auto& [name, tensor] : batch.fields) {
      if (tensor.bytes() > 0) std::memcpy(slot.pinned.at(at), tensor.raw(), tensor.bytes());
      batch.host_fields[name] = tensor;
      const Tensor part = slot.device.view(at, {static_cast<std::int64_t>(tensor.bytes())});
      at += aligned(tensor.bytes());
      tensor = part.retyped(tensor.shape(), tensor.dtype());
    }
  gpu.runtime.wait(gpu.stream.get(), slot.used.get());
  slot.pinned.record_use(gpu.stream.get());
  if (bytes > 0)
    gpu.runtime.copy_to_device(slot.device.raw(), slot.pinned.raw(), static_cast<std::size_t>(bytes), gpu.stream.get());
  gpu.runtime.record(slot.sent.get(), gpu.stream.get());
  return step;
}

void BatchStager::begin() {
  if (gpu_) gpu_->runtime.wait(context_.stream(), gpu_->slots[gpu_->current].sent.get());
}

}  // namespace tradewind::runtime
