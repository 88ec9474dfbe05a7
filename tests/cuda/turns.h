// Running cases on a GPU: what tests/simt/turns.h does on the executor.
#pragma once

#include <boost/test/unit_test.hpp>
#include <cstdint>
#include <exception>
#include <string>

#include "tests/cuda/gpu_place.h"

namespace tradewind::tests {

/// The GPU, whatever the number.
class Turn {
 public:
  explicit Turn(std::uint64_t /*number*/) {}
  ~Turn() { BOOST_CHECK_EQUAL(cudaGetErrorString(cudaDeviceSynchronize()), std::string("no error")); }
  Turn(const Turn&) = delete;
  Turn& operator=(const Turn&) = delete;
};

class Turns {
 public:
  /// body(place) once, in a stream of its own. What it throws fails the test.
  template <class Body>
  void next(const std::string& what, const Body& body) {
    GpuPlace place;
    try {
      body(place);
    } catch (const std::exception& error) {
      BOOST_ERROR(what << ": " << error.what());
    }
  }
  /// Twice: hardware chooses the order.
  template <class Body>
  void both(const std::string& what, const Body& body) {
    next(what, body);
    next(what, body);
  }
};

}  // namespace tradewind::tests
