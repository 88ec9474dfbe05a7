// Values in a row, in memory of their own or of another owner, as a mapped file's.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <utility>
#include <vector>

#include "kernels/base/error.h"

namespace tradewind::runtime {

template <class T>
class Column {
 public:
  Column() = default;
  Column(std::vector<T> values) : Column(std::make_shared<std::vector<T>>(std::move(values))) {}  // NOLINT: it is one
  /// Memory that `owner` keeps, to read and write.
  Column(std::span<T> memory, std::shared_ptr<const void> owner)
      : values_(memory), writable_(memory.data()), owner_(std::move(owner)) {}
  /// The same, to read alone.
  static Column read_only(std::span<const T> memory, const std::shared_ptr<const void>& owner) {
    Column out;
    out.values_ = memory;
    out.owner_ = owner;
    return out;
  }

  std::span<const T> span() const { return values_; }
  std::size_t size() const { return values_.size(); }
  bool empty() const { return values_.empty(); }
  const T* data() const { return values_.data(); }
  const T& operator[](std::size_t i) const { return values_[i]; }
  const T& back() const { return values_.back(); }
  auto begin() const { return values_.begin(); }
  auto end() const { return values_.end(); }
  /// While it is made; copies share their values.
  std::span<T> writable() const {
    require(values_.empty() || writable_ != nullptr, "Column", "it is to be read alone");
    return {writable_, values_.size()};
  }
  friend bool operator==(const Column& a, const Column& b) { return std::ranges::equal(a.values_, b.values_); }

 private:
  explicit Column(const std::shared_ptr<std::vector<T>>& values) : Column(std::span<T>(*values), values) {}

  std::span<const T> values_;
  T* writable_ = nullptr;
  std::shared_ptr<const void> owner_;
};

/// Where columns are made.
class ColumnSpace {
 public:
  virtual ~ColumnSpace() = default;
  template <class T>
  Column<T> column(std::size_t count) {
    const auto [bytes, owner] = take(count * sizeof(T));
    return {std::span<T>(reinterpret_cast<T*>(bytes), count), owner};
  }

 protected:
  /// Zeros, aligned for any T, and who keeps them.
  virtual std::pair<void*, std::shared_ptr<const void>> take(std::size_t bytes) = 0;
};

class MemorySpace final : public ColumnSpace {
 protected:
  std::pair<void*, std::shared_ptr<const void>> take(std::size_t bytes) override {
    const auto memory = std::make_shared<std::vector<std::uint64_t>>((bytes + 7) / 8);
    return {memory->data(), memory};
  }
};

}  // namespace tradewind::runtime
