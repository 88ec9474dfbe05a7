// The arrays of a test's call where it runs: the host's own on the CPU, else copies on a device, elements narrowed to bfloat16
// where the op takes that.
//
//   PlacedArrays at(place, dtype);                    place null: the CPU, float32
//   f(at.elements(y), at.read(x), at.array(dw), ..., at.launch(threads));
//   at.fetch();                                       outputs are in y and dw
#pragma once

#include <algorithm>
#include <functional>
#include <type_traits>
#include <vector>

#include "kernels/base/dtype.h"
#include "tests/support/device_place.h"

namespace tradewind::tests {

class PlacedArrays {
 public:
  /// skip: elements in front of each array on a device, so that it does not begin at a multiple of 16 bytes.
  PlacedArrays(Place* place, kernels::DType dtype, std::size_t skip = 0)
      : place_(place), half_(dtype == kernels::DType::kBFloat16), skip_(skip) {}
  ~PlacedArrays() {
    for (void* p : owned_) place_->drop(p);
  }
  PlacedArrays(const PlacedArrays&) = delete;
  PlacedArrays& operator=(const PlacedArrays&) = delete;

  /// An array of the op's elements that the call may write; it goes there as it is now. Empty: null.
  void* elements(std::vector<float>& x) {
    void* p = read(x);
    if (place_ != nullptr && p != nullptr) fetches_.emplace_back([this, &x, p] { get_elements(x, p); });
    return p;
  }
  /// An array of the op's elements that is only read.
  void* read(const std::vector<float>& x) {
    if (!half_) return const_cast<float*>(values(x));
    std::vector<std::uint16_t> narrow(x.size());
    std::transform(x.begin(), x.end(), narrow.begin(), bfloat16_of);
    return const_cast<std::uint16_t*>(values(narrow));
  }
  /// An array of any type that the call may write.
  template <class T>
  T* array(std::vector<T>& x) {
    T* p = const_cast<T*>(values(x));
    if (place_ != nullptr && p != nullptr)
      fetches_.emplace_back([this, &x, p] { place_->get(x.data(), p, x.size() * sizeof(T)); });
    return p;
  }
  /// An array of any type that is only read.
  template <class T>
  const T* values(const std::vector<T>& x) {
    return x.empty() ? nullptr : put(x.data(), x.size());
  }
  template <class T>
  const T* value(const T& x) {
    return put(&x, 1);
  }

  kernels::Launch launch(int threads = 1) const {
    kernels::Launch launch = place_ == nullptr ? kernels::Launch{} : place_->launch();
    launch.threads = threads;
    return launch;
  }
  /// Waits, and brings what may have been written.
  void fetch() {
    for (const auto& bring : fetches_) bring();
  }

 private:
  template <class T>
  const T* put(const T* host, std::size_t count) {
    if (place_ == nullptr) return host;
    if (skip_ == 0 || count == 1) {
      owned_.push_back(place_->put(host, count * sizeof(T)));
      return static_cast<const T*>(owned_.back());
    }
    std::vector<T> with(skip_);
    with.insert(with.end(), host, host + count);
    owned_.push_back(place_->put(with.data(), with.size() * sizeof(T)));
    return static_cast<const T*>(owned_.back()) + skip_;
  }
  void get_elements(std::vector<float>& x, const void* p) const {
    if (!half_) return place_->get(x.data(), p, x.size() * sizeof(float));
    std::vector<std::uint16_t> narrow(x.size());
    place_->get(narrow.data(), p, narrow.size() * sizeof(std::uint16_t));
    std::transform(narrow.begin(), narrow.end(), x.begin(), float_of_bfloat16);
  }

  Place* place_;
  bool half_;
  std::size_t skip_;
  std::vector<void*> owned_{};
  std::vector<std::function<void()>> fetches_{};
};

/// x as a device that was given it in dtype has it.
inline std::vector<float> rounded_to(kernels::DType dtype, std::vector<float> x) {
  if (dtype == kernels::DType::kBFloat16) std::transform(x.begin(), x.end(), x.begin(), rounded_to_bfloat16);
  return x;
}

}  // namespace tradewind::tests
