// Problems of the gate and their float64 oracle, for every executor: the CPU (gate_test.cpp) and the CUDA kernel on the
// executor of tests/simt.
#pragma once

#include <functional>
#include <string>

#include "kernels/gate.h"
#include "tests/support/oracle.h"
#include "tests/support/placed_arrays.h"

namespace tradewind::tests {

using kernels::DType;

struct GateWay {
  Place* place = nullptr;  // null: the CPU
  int threads = 2;
  DType dtype = DType::kFloat32;
};

/// Forward, backward, and backward over dy; the rest of the gate's rows is left alone.
inline void check_gate(const std::string& what, const kernels::GateShape& s, const GateWay& way) {
  const auto x = rounded_to(way.dtype, random_values(s.N * s.C, 1)), dy = rounded_to(way.dtype, random_values(s.N * s.C, 2));
  const auto gate = rounded_to(way.dtype, random_values(s.N * s.gate_stride, 3));
  std::vector<float> y(x.size(), NAN), dx(x.size(), NAN), over_dy = dy, dgate(gate.size(), 7.0F), again = dgate;
  PlacedArrays at(way.place, way.dtype);
  const void *in = at.read(x), *by = at.read(gate);
  void* placed_over = at.elements(over_dy);
  kernels::gate_forward(at.elements(y), in, by, s, way.dtype, at.launch(way.threads));
  kernels::gate_backward(at.elements(dx), at.elements(dgate), at.read(dy), in, by, s, way.dtype, at.launch(way.threads));
  kernels::gate_backward(placed_over, at.elements(again), placed_over, in, by, s, way.dtype, at.launch(way.threads));
  at.fetch();
  std::vector<double> want_y(x.size()), want_dx(x.size()), want_dgate(gate.size(), 7.0);
  for (std::int64_t n = 0; n < s.N; ++n)
    for (std::int64_t c = 0; c < s.C; ++c) {
      const std::int64_t i = n * s.C + c, g = n * s.gate_stride + c;
      want_y[i] = double{x[i]} * gate[g];
      want_dx[i] = double{dy[i]} * gate[g];
      want_dgate[g] = double{dy[i]} * x[i];
    }
  const double tolerance = way.dtype == DType::kBFloat16 ? 4e-3 : 1e-7;
  check_close(what + " y", y, want_y, tolerance);
  check_close(what + " dx", dx, want_dx, tolerance);
  check_close(what + " dx over dy", over_dy, want_dx, tolerance);
  check_close(what + " dgate", dgate, want_dgate, tolerance);
  BOOST_CHECK(again == dgate);
}

inline void for_each_gate_case(const std::function<void(const std::string&, const kernels::GateShape&)>& check) {
  for (const std::int64_t C : {1, 7, 8, 64, 72, 200})
    for (const std::int64_t N : {0, 1, 150})
      for (const std::int64_t beside : {0, 8, 13})
        check(std::string("N ").append(std::to_string(N)).append(" C ").append(std::to_string(C)),
              {.N = N, .C = C, .gate_stride = C + beside});
}

}  // namespace tradewind::tests
