// Tensors between host and device. On a CPU there is nothing to carry: the same tensor comes back.
#pragma once

#include <cstddef>
#include <vector>

#include "runtime/core/tensor.h"

namespace tradewind::runtime {

class Context;

/// The whole tensor, or this many bytes of it, from or to plain host memory; over when it returns. Goes through two pinned
/// pieces of a few MiB, so that what is carried may be larger than what can be pinned.
void copy_to_host(void* host, const Tensor& from);
void copy_from_host(const Tensor& to, const void* host);

/// As the host has it: the tensor itself, or a copy, arrived.
Tensor on_host(const Tensor& tensor);

/// As the context's device has it: the tensor itself, or a copy in the order of the context's stream. What is on the host may
/// be changed or dropped on return.
Tensor on_device(Context& context, const Tensor& tensor, Purpose purpose = Purpose::kActivations);

/// A copy on the same device, in its order.
Tensor copy_of(Context& context, const Tensor& tensor);

/// `rows` pieces of `bytes`, each a stride after the one before, within the memory that both tensors are in.
void copy_rows(void* to, std::size_t to_stride, const void* from, std::size_t from_stride, std::size_t bytes, std::size_t rows,
               const Context& context);

/// Results that the host wants to see, gathered while the device works and waited for once.
class Readback {
 public:
  explicit Readback(Context& context) : context_(context) {}
  /// Enqueues the copy. Returns the number to ask for.
  std::size_t add(const Tensor& tensor);
  /// Until all of them are here.
  void wait();
  const Tensor& operator[](std::size_t i) const { return arrived_[i]; }
  std::size_t size() const { return arrived_.size(); }
  void clear() { arrived_.clear(); }

 private:
  Context& context_;
  std::vector<Tensor> arrived_;
};

}  // namespace tradewind::runtime
