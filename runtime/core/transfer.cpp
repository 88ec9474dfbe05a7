#include "runtime/core/transfer.h"

#include <algorithm>
#include <array>
#include <cstring>

#include "runtime/core/context.h"

namespace tradewind::runtime {
namespace {

constexpr std::size_t kPieceBytes = std::size_t{4} << 20;

/// Two pieces of pinned memory that take turns: while one is on its way the host works on the other.
class Pieces {
 public:
  explicit Pieces(std::size_t bytes) : bytes_(std::min(bytes, kPieceBytes)) {
    for (Slot& slot : slots_) slot.memory = runtime_.allocate_pinned(bytes_);
  }
  ~Pieces() {
    for (const Slot& slot : slots_)
      if (slot.memory != nullptr) runtime_.release_pinned(slot.memory);
  }
  Pieces(const Pieces&) = delete;
  Pieces& operator=(const Pieces&) = delete;

  std::size_t bytes() const { return bytes_; }
  /// The piece that is free longest, waited for.
  std::byte* take() {
    turn_ = 1 - turn_;
    wait(turn_);
    return memory(turn_);
  }
  /// The copy of the piece taken last has been enqueued.
  void sent(kernels::Stream stream) { runtime_.record(slots_[turn_].done.get(), stream); }
  void wait(std::size_t which) { runtime_.wait_for_event(slots_[which].done.get()); }
  std::byte* memory(std::size_t which) const { return static_cast<std::byte*>(slots_[which].memory); }

 private:
  struct Slot {
    void* memory = nullptr;
    kernels::DeviceEvent done;
  };
  kernels::DeviceRuntime& runtime_ = kernels::cuda_runtime();
  std::size_t bytes_;
  std::array<Slot, 2> slots_;
  std::size_t turn_ = 1;
};

}  // namespace

void copy_to_host(void* host, const Tensor& from) {
  if (from.bytes() == 0) return;
  if (from.on_host()) {
    std::memcpy(host, from.raw(), from.bytes());
    return;
  }
  Pieces pieces(from.bytes());
  auto* to = static_cast<std::byte*>(host);
  const auto* device = static_cast<const std::byte*>(from.raw());
  const auto length = [&](std::size_t at) { return std::min(pieces.bytes(), from.bytes() - at); };
  const auto send = [&](std::size_t at) {
    kernels::cuda_runtime().copy_to_host(pieces.take(), device + at, length(at), from.stream());
    pieces.sent(from.stream());
  };
  send(0);
  std::size_t which = 0;
  for (std::size_t at = 0; at < from.bytes(); at += pieces.bytes()) {
    if (at + pieces.bytes() < from.bytes()) send(at + pieces.bytes());
    pieces.wait(which);
    std::memcpy(to + at, pieces.memory(which), length(at));
    which = 1 - which;
  }
}

void copy_from_host(const Tensor& to, const void* host) {
  if (to.bytes() == 0) return;
  if (to.on_host()) {
    std::memcpy(to.raw(), host, to.bytes());
    return;
  }
  Pieces pieces(to.bytes());
  for (std::size_t at = 0; at < to.bytes(); at += pieces.bytes()) {
    const std::size_t bytes = std::min(pieces.bytes(), to.bytes() - at);
    std::byte* piece = pieces.take();
    std::memcpy(piece, static_cast<const std::byte*>(host) + at, bytes);
    kernels::cuda_runtime().copy_to_device(static_cast<std::byte*>(to.raw()) + at, piece, bytes, to.stream());
    pieces.sent(to.stream());
  }
  kernels::cuda_runtime().wait_for_stream(to.stream());
}

Tensor on_host(const Tensor& tensor) {
  if (tensor.on_host()) return tensor;
  Tensor out(host_allocator(), tensor.shape(), tensor.dtype());
  copy_to_host(out.raw(), tensor);
  return out;
}

Tensor on_device(Context& context, const Tensor& tensor, Purpose purpose) {
  if (tensor.device() == context.device()) return tensor;
  require(tensor.on_host(), "on_device", "the tensor is on another GPU");
  Tensor out = context.tensor(tensor.shape(), tensor.dtype(), purpose);
  if (tensor.bytes() == 0) return out;
  const Tensor staged(context.pinned(), tensor.shape(), tensor.dtype());
  std::memcpy(staged.raw(), tensor.raw(), tensor.bytes());
  staged.record_use(context.stream());
  kernels::cuda_runtime().copy_to_device(out.raw(), staged.raw(), tensor.bytes(), context.stream());
  return out;
}

Tensor copy_of(Context& context, const Tensor& tensor) {
  Tensor out = context.tensor(tensor.shape(), tensor.dtype());
  copy_rows(out.raw(), tensor.bytes(), tensor.raw(), tensor.bytes(), tensor.bytes(), 1, context);
  return out;
}

void copy_rows(void* to, std::size_t to_stride, const void* from, std::size_t from_stride, std::size_t bytes, std::size_t rows,
               const Context& context) {
  if (context.device().type == DeviceType::kCuda) {
    kernels::cuda_runtime().copy_rows(to, to_stride, from, from_stride, bytes, rows, context.stream());
    return;
  }
  if (bytes == 0) return;
  for (std::size_t i = 0; i < rows; ++i)
    std::memcpy(static_cast<std::byte*>(to) + i * to_stride, static_cast<const std::byte*>(from) + i * from_stride, bytes);
}

std::size_t Readback::add(const Tensor& tensor) {
  if (tensor.on_host() || tensor.bytes() == 0) {
    arrived_.push_back(tensor);
    return arrived_.size() - 1;
  }
  Tensor out(context_.pinned(), tensor.shape(), tensor.dtype());
  kernels::cuda_runtime().copy_to_host(out.raw(), tensor.raw(), tensor.bytes(), tensor.stream());
  out.record_use(tensor.stream());
  arrived_.push_back(std::move(out));
  return arrived_.size() - 1;
}

void Readback::wait() { context_.wait(); }

}  // namespace tradewind::runtime
