// Problems of a recurrent layer and their float64 oracle, for every executor: the CPU (recurrent_test.cpp) and the CUDA kernels
// on the executor of tests/simt.
#pragma once

#include <functional>
#include <string>
#include <tuple>

#include "kernels/recurrent.h"
#include "tests/support/oracle.h"
#include "tests/support/placed_arrays.h"

namespace tradewind::tests {

using kernels::DType;
using kernels::RecurrentKind;
using kernels::Write;

/// Values and gradients in float64, sequence by sequence, of total = <h, dh> + <last cell, dlast>.
struct RecurrentOracle {
  RecurrentKind kind;
  std::int64_t H;
  std::vector<std::int64_t> offsets;
  std::vector<double> a{}, w{}, b{}, h0{}, c0{}, dh{}, dlast{};  // a [N, G H]; dlast [S, H]
  std::vector<double> h{}, cell{}, saved{}, da{}, dhidden{}, dw{}, db{}, dh0{}, dc0{};
  double total = 0;

  std::int64_t gates() const { return kernels::recurrent_gates(kind); }
  static double sigmoid(double x) { return 1 / (1 + std::exp(-x)); }

  void solve() {
    const auto S = static_cast<std::int64_t>(offsets.size()) - 1, N = offsets.back(), G = gates();
    h.assign(N * H, 0), cell = h, dhidden = h;
    saved.assign(N * 4 * H, 0);
    da.assign(N * G * H, 0), dw.assign(G * H * H, 0), db.assign(G * H, 0), dh0.assign(S * H, 0), dc0 = dh0;
    total = 0;
    for (std::int64_t s = 0; s < S; ++s) {
      for (std::int64_t row = offsets[s]; row < offsets[s + 1]; ++row)
        forward(row, before(h, h0, s, row), before(cell, c0, s, row));
      std::vector<double> dstate(H, 0), dcell(dlast.begin() + s * H, dlast.begin() + (s + 1) * H);
      const std::int64_t last = offsets[s + 1] - 1;
      for (std::int64_t c = 0; c < H && kind == RecurrentKind::kLstm; ++c)
        total += dcell[c] * (last >= offsets[s] ? cell[last * H + c] : c0[s * H + c]);
      for (std::int64_t row = last; row >= offsets[s]; --row)
        backward(row, before(h, h0, s, row), before(cell, c0, s, row), dstate, dcell);
      std::copy(dstate.begin(), dstate.end(), dh0.begin() + s * H);
      std::copy(dcell.begin(), dcell.end(), dc0.begin() + s * H);
    }
  }

 private:
  const double* before(const std::vector<double>& x, const std::vector<double>& x0, std::int64_t s, std::int64_t row) const {
    return row > offsets[s] ? x.data() + (row - 1) * H : x0.data() + s * H;
  }
  void forward(std::int64_t row, const double* was, const double* cell_was) {
    const std::int64_t G = gates();
    std::vector<double> g(b);
    for (std::int64_t n = 0; n < G * H; ++n)
      for (std::int64_t k = 0; k < H; ++k) g[n] += w[n * H + k] * was[k];
    const double* x = a.data() + row * G * H;
    double* out = saved.data() + row * 4 * H;
    for (std::int64_t c = 0; c < H; ++c) {
      double& y = h[row * H + c];
      if (kind == RecurrentKind::kGru) {
        const double r = sigmoid(x[c] + g[c]), z = sigmoid(x[H + c] + g[H + c]), n = std::tanh(x[2 * H + c] + r * g[2 * H + c]);
        y = (1 - z) * n + z * was[c];
        out[c] = r, out[H + c] = z, out[2 * H + c] = n, out[3 * H + c] = g[2 * H + c];
      } else {
        for (std::int64_t k = 0; k < 4; ++k) {
          const double sum = x[k * H + c] + g[k * H + c];
          out[k * H + c] = k == 2 ? std::tanh(sum) : sigmoid(sum);
        }
        cell[row * H + c] = out[H + c] * cell_was[c] + out[c] * out[2 * H + c];
        y = out[3 * H + c] * std::tanh(cell[row * H + c]);
      }
      total += y * dh[row * H + c];
    }
  }
  void backward(std::int64_t row, const double* was, const double* cell_was, std::vector<double>& dstate,
                std::vector<double>& dcell) {
    const std::int64_t G = gates();
    std::vector<double> dg(G * H), next(H, 0);
    const double* o = saved.data() + row * 4 * H;
    double* dx = da.data() + row * G * H;
    for (std::int64_t c = 0; c < H; ++c) {
      const double dy = dh[row * H + c] + dstate[c];
      if (kind == RecurrentKind::kGru) {
        const double r = o[c], z = o[H + c], n = o[2 * H + c];
        dx[2 * H + c] = dy * (1 - z) * (1 - n * n);
        dx[H + c] = dg[H + c] = dy * (was[c] - n) * z * (1 - z);
        dx[c] = dg[c] = dx[2 * H + c] * o[3 * H + c] * r * (1 - r);
        dhidden[row * H + c] = dg[2 * H + c] = dx[2 * H + c] * r;
        next[c] = dy * z;
      } else {
        const double i = o[c], f = o[H + c], u = o[2 * H + c], q = o[3 * H + c], bent = std::tanh(cell[row * H + c]);
        const double dc = dcell[c] + dy * q * (1 - bent * bent);
        dg[c] = dc * u * i * (1 - i), dg[H + c] = dc * cell_was[c] * f * (1 - f);
        dg[2 * H + c] = dc * i * (1 - u * u), dg[3 * H + c] = dy * bent * q * (1 - q);
        for (std::int64_t k = 0; k < 4; ++k) dx[k * H + c] = dg[k * H + c];
        dcell[c] = dc * f;
      }
    }
    for (std::int64_t n = 0; n < G * H; ++n) {
      db[n] += dg[n];
      for (std::int64_t k = 0; k < H; ++k) {
        dw[n * H + k] += dg[n] * was[k];
        next[k] += dg[n] * w[n * H + k];
      }
    }
    dstate = next;
  }
};

struct RecurrentCase {
  RecurrentKind kind = RecurrentKind::kGru;
  std::vector<std::int64_t> lengths{};
  std::int64_t H = 1;
  bool start = false;  // h0, c0 and what is asked and given of them
  Write write = Write::kAssign;
  int threads = 2;
  DType dtype = DType::kFloat32;
  Place* place = nullptr;  // null: the CPU
};

inline std::string describe(const RecurrentCase& c) {
  std::string out = std::string(c.kind == RecurrentKind::kGru ? "gru " : "lstm ") + kernels::name_of(c.dtype) + " H " +
                    std::to_string(c.H) + " lengths";
  for (const std::int64_t n : c.lengths) out.append(" ").append(std::to_string(n));
  return out + (c.start ? " from a state" : "") + (c.write == Write::kAccumulate ? " accumulated" : "") + " threads " +
         std::to_string(c.threads);
}

inline std::vector<std::int64_t> offsets_of(const std::vector<std::int64_t>& lengths) {
  std::vector<std::int64_t> out{0};
  for (const std::int64_t n : lengths) out.push_back(out.back() + n);
  return out;
}

/// Everything that the two directions write: h, cell, the gates' gradients, dw, db, dh0, dc0.
struct RecurrentResult {
  std::vector<float> h, cell, gates, dw, db, dh0, dc0;
};

inline RecurrentResult run_recurrent(const RecurrentCase& c, const RecurrentOracle& from, const RecurrentResult& before) {
  const auto narrow = [](const std::vector<double>& x) { return std::vector<float>(x.begin(), x.end()); };
  const bool lstm = c.kind == RecurrentKind::kLstm;
  const std::int64_t N = from.offsets.back(), H = c.H, G = from.gates();
  RecurrentResult r = before;
  r.h.assign(N * H, NAN);
  if (lstm) r.cell = r.h;
  r.gates.assign(N * 4 * H, NAN);
  for (std::int64_t row = 0; row < N; ++row)
    for (std::int64_t g = 0; g < G * H; ++g) r.gates[row * 4 * H + g] = static_cast<float>(from.a[row * G * H + g]);
  if (c.start) r.dh0.assign(from.h0.size(), NAN);
  if (c.start && lstm) r.dc0 = r.dh0;
  const auto order = kernels::recurrent_order(from.offsets);
  PlacedArrays at(c.place, c.dtype);
  const auto w = narrow(from.w), b = narrow(from.b), h0 = narrow(from.h0), c0 = narrow(from.c0), dh = narrow(from.dh),
             dlast = narrow(from.dlast);
  const kernels::RecurrentShape shape{.kind = c.kind,
                                      .H = H,
                                      .order = &order,
                                      .table = c.place == nullptr ? nullptr : at.values(order.table),
                                      .dtype = c.dtype};
  kernels::RecurrentStart start;
  if (c.start) start.h0 = at.read(h0);
  if (c.start && lstm) start.c0 = at.values(c0);
  void *placed_h = at.elements(r.h), *gates = at.elements(r.gates);
  float* cell = at.array(r.cell);
  const void* placed_w = at.read(w);
  kernels::recurrent_forward(placed_h, cell, gates, placed_w, at.read(b), start, shape, at.launch(c.threads));
  kernels::recurrent_backward(
      {.dw = at.array(r.dw), .db = at.array(r.db), .dh0 = at.array(r.dh0), .dc0 = at.array(r.dc0)}, gates,
      {.h = placed_h, .dh = at.read(dh), .cell = cell, .dlast_cell = c.start && lstm ? at.values(dlast) : nullptr}, placed_w,
      start, shape, c.write, at.launch(c.threads));
  at.fetch();
  return r;
}

/// Inputs as the case's elements hold them. Without a start there are zeros.
inline RecurrentOracle recurrent_problem(const RecurrentCase& c) {
  RecurrentOracle o{.kind = c.kind, .H = c.H, .offsets = offsets_of(c.lengths)};
  const std::int64_t S = static_cast<std::int64_t>(c.lengths.size()), N = o.offsets.back(), G = o.gates(), H = c.H;
  const auto values = [&](std::int64_t count, std::uint32_t seed, double scale) {
    return widen(rounded_to(c.dtype, random_values(static_cast<std::size_t>(count), seed, scale)));
  };
  o.a = values(N * G * H, 1, 1), o.w = values(G * H * H, 2, 1 / std::sqrt(static_cast<double>(H))), o.b = values(G * H, 3, 1);
  o.dh = values(N * H, 4, 1);
  const double start = c.start ? 1 : 0;
  o.h0 = values(S * H, 5, start);
  o.c0 = widen(random_values(static_cast<std::size_t>(S * H), 6, start));
  o.dlast = c.kind == RecurrentKind::kLstm ? widen(random_values(static_cast<std::size_t>(S * H), 7, start))
                                           : std::vector<double>(static_cast<std::size_t>(S * H), 0.0);
  return o;
}

inline void check_recurrent(const RecurrentCase& c, double tolerance) {
  const bool lstm = c.kind == RecurrentKind::kLstm;
  RecurrentOracle want = recurrent_problem(c);
  RecurrentResult before;
  before.dw = random_values(want.w.size(), 8), before.db = random_values(want.b.size(), 9);
  const RecurrentResult got = run_recurrent(c, want, before);
  want.solve();
  if (c.write == Write::kAccumulate) {
    for (std::size_t i = 0; i < before.dw.size(); ++i) want.dw[i] += before.dw[i];
    for (std::size_t i = 0; i < before.db.size(); ++i) want.db[i] += before.db[i];
  }
  const std::int64_t N = want.offsets.back(), H = c.H, G = want.gates();
  std::vector<double> gates(static_cast<std::size_t>(N * 4 * H));
  for (std::int64_t row = 0; row < N; ++row)
    for (std::int64_t g = 0; g < 4 * H; ++g)
      gates[row * 4 * H + g] = g < G * H ? want.da[row * G * H + g] : want.dhidden[row * H + g - G * H];
  check_close(describe(c) + " h", got.h, want.h, tolerance);
  if (lstm) check_close(describe(c) + " cell", got.cell, want.cell, tolerance);
  check_close(describe(c) + " gates", got.gates, gates, tolerance);
  check_close(describe(c) + " dw", got.dw, want.dw, tolerance);
  check_close(describe(c) + " db", got.db, want.db, tolerance);
  if (!c.start) return;
  check_close(describe(c) + " dh0", got.dh0, want.dh0, tolerance);
  if (lstm) check_close(describe(c) + " dc0", got.dc0, want.dc0, tolerance);
}

/// One row; sequences of many lengths in no order, some empty; sizes around the vectors.
inline std::vector<RecurrentCase> recurrent_cases() {
  std::vector<RecurrentCase> cases;
  for (const RecurrentKind kind : {RecurrentKind::kGru, RecurrentKind::kLstm})
    for (const bool start : {false, true})
      for (const Write write : {Write::kAssign, Write::kAccumulate}) {
        const RecurrentCase c{.kind = kind, .start = start, .write = write};
        for (const std::int64_t H : {1, 5, 16, 33, 64}) {
          cases.push_back(c);
          cases.back().H = H;
          cases.back().lengths = {3, 0, 7, 1, 7, 2, 0, 5, 11};
        }
        for (const std::vector<std::int64_t>& lengths : {std::vector<std::int64_t>{1}, {0, 0}, {9}}) {
          cases.push_back(c);
          cases.back().H = 6;
          cases.back().lengths = lengths;
        }
      }
  return cases;
}

}  // namespace tradewind::tests
