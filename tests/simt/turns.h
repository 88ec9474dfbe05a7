// Running cases on the executor: each on machines of its own, seed and schedule going round.
#pragma once

#include <boost/test/unit_test.hpp>
#include <cstdint>
#include <string>

#include "tests/simt/machine.h"
#include "tests/simt/place.h"

namespace tradewind::tests {

inline simt::Options options_of_turn(std::uint64_t turn, std::size_t memory) {
  return {.seed = turn, .schedule = turn % 2 == 0 ? simt::Schedule::kRandom : simt::Schedule::kWarpAhead, .memory = memory};
}

/// A machine while this lives, for what has streams and memory of its own. A fault fails the test.
class Turn {
 public:
  explicit Turn(std::uint64_t number) : machine_(options_of_turn(number, std::size_t{1} << 28)) {}
  ~Turn() { BOOST_CHECK_EQUAL(machine_.first_fault(), ""); }
  Turn(const Turn&) = delete;
  Turn& operator=(const Turn&) = delete;

 private:
  simt::Machine machine_;
};

class Turns {
 public:
  /// body(place) once, in a stream of its own, with the next seed and the other schedule. A fault fails the test.
  template <class Body>
  void next(const std::string& what, const Body& body) {
    const simt::Machine machine(options_of_turn(++turn_, std::size_t{1} << 26));
    SimtPlace place(kernels::stream_create());
    try {
      body(place);
    } catch (const simt::Fault& fault) {
      BOOST_ERROR(what << ": " << fault.what());
    }
  }
  /// Under both schedules.
  template <class Body>
  void both(const std::string& what, const Body& body) {
    next(what, body);
    next(what, body);
  }

 private:
  std::uint64_t turn_ = 0;
};

}  // namespace tradewind::tests
