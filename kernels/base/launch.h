// What every kernel launcher takes last: where to run, with what workspace, and the scalars of the current step.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>

#include "kernels/base/device.h"
#include "kernels/base/dtype.h"

namespace tradewind::kernels {

/// How an output is written. Every gradient output takes one: the first touch of a step assigns, later ones
/// accumulate, so that nothing is zeroed and read again.
enum class Write : std::uint8_t { kAssign, kAccumulate };

inline constexpr int kMaxTasks = 8;

/// Scalars that change every step. Kernels read them through a pointer into device memory (host memory on a CPU), so
/// that a captured step can be replayed. Written by the trainer between steps.
struct StepState {
  std::uint64_t seed = 0;       // of the run; Philox key material
  std::int64_t step = 0;        // optimiser step, from 1 in the first update (Adam's t)
  float learning_rate = 0.0F;   // of this step
  float gradient_scale = 1.0F;  // clipping factor, applied by the optimiser to every gradient it reads
  float loss_scale[kMaxTasks] = {1, 1, 1, 1, 1, 1, 1, 1};  // task weight / global count of valid targets
};

/// Workspace for the length of one launcher call. Implemented by the runtime's caching allocator.
class Scratch {
 public:
  virtual ~Scratch() = default;
  /// Aligned to 64 bytes; contents undefined. Thread-safe on a CPU; of a GPU for the thread that launches.
  virtual void* acquire(std::size_t bytes) = 0;
  virtual void release(void* pointer, std::size_t bytes) noexcept = 0;
};

/// A Scratch over the C++ heap, for tests and tools.
Scratch& heap_scratch();

struct Launch {
  Device device{};
  void* stream = nullptr;  // cudaStream_t; null on a CPU
  Scratch* scratch = &heap_scratch();
  const StepState* step = nullptr;  // device memory; needed by kernels whose header says so
  int threads = 1;                  // CPU threads; kernels enter OpenMP only from the caller's thread
  /// Forward products only: the bits of a row of the output do not depend on the rows beside it (nor on `threads`). For
  /// serving; slower than what training takes.
  bool stable_rows = false;
};

/// Workspace of `count` elements that goes back when the scope ends.
template <class T>
class ScratchArray {
 public:
  ScratchArray(const Launch& launch, std::size_t count)
      : scratch_(launch.scratch),
        bytes_(count * sizeof(T)),
        data_(count == 0 ? nullptr : static_cast<T*>(launch.scratch->acquire(bytes_))) {}
  ~ScratchArray() {
    if (data_ != nullptr) scratch_->release(data_, bytes_);
  }
  ScratchArray(const ScratchArray&) = delete;
  ScratchArray& operator=(const ScratchArray&) = delete;
  T* get() const { return data_; }
  T& operator[](std::size_t i) const { return data_[i]; }

 private:
  Scratch* scratch_;
  std::size_t bytes_;
  T* data_;
};

}  // namespace tradewind::kernels
