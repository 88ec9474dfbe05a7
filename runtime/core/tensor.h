// Contiguous row-major arrays with reference-counted storage.
#pragma once

#include <array>
#include <cstdint>
#include <initializer_list>
#include <memory>
#include <span>
#include <string>

#include "kernels/base/device.h"
#include "kernels/base/dtype.h"
#include "kernels/base/error.h"
#include "runtime/core/allocator.h"

namespace tradewind::runtime {

using kernels::Device;
using kernels::DeviceType;
using kernels::DType;

/// Up to five dimensions. Rank 0 is a scalar of one element.
class Shape {
 public:
  static constexpr int kMaxRank = 5;
  Shape() = default;
  Shape(std::initializer_list<std::int64_t> sizes);
  explicit Shape(std::span<const std::int64_t> sizes);

  int rank() const { return rank_; }
  /// Size of dimension i; negative i counts from the end.
  std::int64_t operator[](int i) const { return sizes_[static_cast<std::size_t>(i < 0 ? i + rank_ : i)]; }
  std::int64_t elements() const;
  std::span<const std::int64_t> sizes() const { return {sizes_.data(), static_cast<std::size_t>(rank_)}; }
  std::string text() const;  // "[3, 5]"
  bool operator==(const Shape&) const = default;

 private:
  std::array<std::int64_t, kMaxRank> sizes_{};
  int rank_ = 0;
};

/// A block of memory from an Allocator (or, as a view, from someone who outlives it).
class Storage {
 public:
  Storage(Allocator& allocator, std::size_t bytes, Purpose purpose);
  ~Storage();
  Storage(const Storage&) = delete;
  Storage& operator=(const Storage&) = delete;
  std::byte* data() const { return data_; }
  std::size_t bytes() const { return bytes_; }
  Allocator& allocator() const { return allocator_; }

 private:
  Allocator& allocator_;
  std::size_t bytes_;
  std::byte* data_;
};

/// A tensor is a shape and an offset into shared storage. Copying a Tensor shares the data.
class Tensor {
 public:
  Tensor() = default;  // undefined: defined() is false
  Tensor(Allocator& allocator, const Shape& shape, DType dtype, Purpose purpose = Purpose::kActivations);

  bool defined() const { return storage_ != nullptr; }
  const Shape& shape() const { return shape_; }
  std::int64_t size(int dimension) const { return shape_[dimension]; }
  std::int64_t elements() const { return elements_; }
  DType dtype() const { return dtype_; }
  std::size_t bytes() const { return static_cast<std::size_t>(elements_) * kernels::size_of(dtype_); }
  Device device() const { return storage_->allocator().device(); }
  bool on_host() const { return device().type == DeviceType::kCpu; }
  /// In whose order the tensor is read and written; null on the host.
  kernels::Stream stream() const { return storage_->allocator().stream(); }
  /// No other Tensor shares the storage: it may be overwritten.
  bool unique() const { return storage_.use_count() == 1; }
  void* raw() const { return storage_ == nullptr ? nullptr : storage_->data() + offset_; }

  /// Address of element i of the flattened tensor.
  void* at(std::int64_t i) const {
    return static_cast<std::byte*>(raw()) + static_cast<std::size_t>(i) * kernels::size_of(dtype_);
  }

  /// Typed pointer, which a host may follow only on_host(). Throws InternalError where T is not the tensor's dtype.
  template <class T>
  T* data() const {
    if (dtype_ != kernels::dtype_of<T>) throw_dtype(kernels::dtype_of<T>);
    return static_cast<T*>(raw());
  }
  template <class T>
  std::span<T> span() const {
    if (!on_host()) throw_device();
    return {data<T>(), static_cast<std::size_t>(elements_)};
  }

  /// The same elements under another shape.
  Tensor reshape(const Shape& shape) const;
  /// Elements [begin, begin + shape.elements()) of the flattened tensor.
  Tensor view(std::int64_t begin, const Shape& shape) const;
  /// The same bytes as elements of another type; as many bytes.
  Tensor retyped(const Shape& shape, DType dtype) const;
  void fill(float value) const;  // float32
  void zero() const;
  /// Another stream uses the storage from here on (Allocator::record_use).
  void record_use(kernels::Stream stream) const { storage_->allocator().record_use(storage_->data(), stream); }

 private:
  [[noreturn]] void throw_dtype(DType asked) const;
  [[noreturn]] void throw_device() const;

  std::shared_ptr<Storage> storage_;
  std::size_t offset_ = 0;  // bytes
  Shape shape_;
  std::int64_t elements_ = 0;
  DType dtype_ = DType::kFloat32;
};

/// Sequences of different lengths, packed: row b holds values[offsets[b] .. offsets[b + 1]).
struct Ragged {
  Tensor values;   // [N, ...]
  Tensor offsets;  // [B + 1] int64
  std::int64_t rows() const { return offsets.elements() - 1; }
};

}  // namespace tradewind::runtime
