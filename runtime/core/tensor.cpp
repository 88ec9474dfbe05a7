#include "runtime/core/tensor.h"

#include <algorithm>
#include <cstring>
#include <vector>

#include "runtime/core/transfer.h"

namespace tradewind::runtime {

Shape::Shape(std::initializer_list<std::int64_t> sizes) : Shape(std::span(sizes.begin(), sizes.size())) {}

Shape::Shape(std::span<const std::int64_t> sizes) : rank_(static_cast<int>(sizes.size())) {
  require(sizes.size() <= kMaxRank, "Shape", "more than five dimensions");
  for (std::size_t i = 0; i < sizes.size(); ++i) {
    require(sizes[i] >= 0, "Shape", "a negative size");
    sizes_[i] = sizes[i];
  }
}

std::int64_t Shape::elements() const {
  std::int64_t n = 1;
  for (const auto s : sizes()) n *= s;
  return n;
}

std::string Shape::text() const {
  std::string out = "[";
  for (int i = 0; i < rank_; ++i) out += (i == 0 ? "" : ", ") + std::to_string((*this)[i]);
  return out + "]";
}

Storage::Storage(Allocator& allocator, std::size_t bytes, Purpose purpose)
    : allocator_(allocator),
      bytes_(bytes),
      data_(static_cast<std::byte*>(allocator.acquire_for(std::max<std::size_t>(bytes, 1), purpose))) {}

Storage::~Storage() { allocator_.release(data_, std::max<std::size_t>(bytes_, 1)); }

Tensor::Tensor(Allocator& allocator, const Shape& shape, DType dtype, Purpose purpose)
    : storage_(
          std::make_shared<Storage>(allocator, static_cast<std::size_t>(shape.elements()) * kernels::size_of(dtype), purpose)),
      shape_(shape),
      elements_(shape.elements()),
      dtype_(dtype) {}

Tensor Tensor::reshape(const Shape& shape) const {
  if (shape.elements() != elements_) throw InternalError("Tensor::reshape: " + shape_.text() + " to " + shape.text());
  Tensor out = *this;
  out.shape_ = shape;
  return out;
}

Tensor Tensor::view(std::int64_t begin, const Shape& shape) const {
  if (begin < 0 || begin + shape.elements() > elements_)
    throw InternalError("Tensor::view: " + shape.text() + " at " + std::to_string(begin) + " of " + shape_.text());
  Tensor out = *this;
  out.offset_ += static_cast<std::size_t>(begin) * kernels::size_of(dtype_);
  out.shape_ = shape;
  out.elements_ = shape.elements();
  return out;
}

Tensor Tensor::retyped(const Shape& shape, DType dtype) const {
  Tensor out = *this;
  out.shape_ = shape;
  out.elements_ = shape.elements();
  out.dtype_ = dtype;
  require(out.bytes() == bytes(), "Tensor::retyped", "another number of bytes");
  return out;
}

void Tensor::fill(float value) const {
  if (on_host()) {
    std::ranges::fill(span<float>(), value);
    return;
  }
  require(dtype_ == DType::kFloat32, "Tensor::fill", "only of float32");
  const std::vector<float> values(static_cast<std::size_t>(elements_), value);
  copy_from_host(*this, values.data());
}

void Tensor::zero() const {
  if (bytes() == 0) return;
  if (on_host())
    std::memset(raw(), 0, bytes());
  else
    kernels::cuda_runtime().fill(raw(), 0, bytes(), stream());
}

void Tensor::throw_dtype(DType asked) const {
  throw InternalError(std::string("Tensor: asked for ") + kernels::name_of(asked) + ", holds " + kernels::name_of(dtype_));
}

void Tensor::throw_device() const {
  throw InternalError("Tensor: " + shape_.text() + " is on a GPU; copy it to the host first");
}

}  // namespace tradewind::runtime
