// The recurrence on the CPU. Sequences do not know each other, so threads take sequences and never wait for one another: W_hh
// is packed once by all (kernels/cpu/packed_gemm.h), and then each thread goes through the steps of a group of its own: one
// product of the group's states with W_hh, one pass over the gates, whose rows stay where they are packed; states and products
// are the thread's and stay in its cache (96 sequences of 64 channels: 98 KB). Groups take every P-th of the sequences in order
// of length, so that they are equally long, and those that still run are always a group's first.
//
// A GRU's row of H = 64 costs 2 3 H H = 25k FLOPs of product, 0.25 us at 100 GFLOP/s a core, and 3 H of sigmoid and tanh, 0.1
// us; it reads or writes 9 H floats of memory. Back the product is W_hh^T dg of each step, the same size; the gradient of W_hh
// is one product over all rows, by the caller.
#include "kernels/cpu/recurrent.h"

#include <algorithm>

#include "kernels/base/parallel.h"
#include "kernels/cpu/packed_gemm.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/cpu/recurrent.cpp"
#include <hwy/foreach_target.h>

#include "kernels/cpu/math-inl.h"
#include "kernels/cpu/tail-inl.h"

HWY_BEFORE_NAMESPACE();
namespace tradewind::kernels::cpu {
namespace HWY_NAMESPACE {
namespace {
namespace hn = hwy::HWY_NAMESPACE;
namespace vec = tradewind::kernels::HWY_NAMESPACE;

using D32 = hn::ScalableTag<float>;
using V32 = hn::Vec<D32>;

/// A whole vector of columns, or the last ones.
struct Whole {
  HWY_INLINE V32 load(const float* p) const { return hn::LoadU(D32(), p); }
  HWY_INLINE void store(V32 x, float* p) const { hn::StoreU(x, D32(), p); }
};
struct Rest {
  std::size_t count;
  HWY_INLINE V32 load(const float* p) const { return vec::load_n(D32(), p, count); }
  HWY_INLINE void store(V32 x, float* p) const { vec::store_n(x, D32(), p, count); }
};

/// f(column, Whole or Rest) over H columns.
template <class F>
HWY_INLINE void columns(std::int64_t H, const F& f) {
  const auto L = static_cast<std::int64_t>(hn::Lanes(D32()));
  std::int64_t c = 0;
  for (; c + L <= H; c += L) f(c, Whole());
  if (c < H) f(c, Rest{static_cast<std::size_t>(H - c)});
}

HWY_INLINE V32 sigmoid(V32 x) { return vec::fast_sigmoid(D32(), x); }
HWY_INLINE V32 tanh(V32 x) { return vec::fast_tanh(D32(), x); }
/// The derivatives by what went in, from what came out.
HWY_INLINE V32 sigmoid_slope(V32 y) { return hn::NegMulAdd(y, y, y); }
HWY_INLINE V32 tanh_slope(V32 y) { return hn::NegMulAdd(y, y, hn::Set(D32(), 1.0F)); }

}  // namespace

/// product [active, 3 H], its rows `stride` apart. state [active, H] receives what the next product multiplies.
void gru_forward(float* h, float* gates, float* state, const float* product, std::int64_t stride, const float* h0,
                 const GroupStep& step) {
  const std::int64_t H = step.H;
  for (std::int64_t i = 0; i < step.active; ++i) {
    const std::int64_t row = step.row(i);
    const float *before = step.before(h, h0, i), *g = product + i * stride;
    float *a = gates + row * 4 * H, *out = h + row * H, *next = state + i * H;
    columns(H, [&](std::int64_t c, auto v) HWY_ATTR {
      const V32 r = sigmoid(hn::Add(v.load(a + c), v.load(g + c)));
      const V32 z = sigmoid(hn::Add(v.load(a + H + c), v.load(g + H + c)));
      const V32 hidden = v.load(g + 2 * H + c);
      const V32 n = tanh(hn::MulAdd(r, hidden, v.load(a + 2 * H + c)));
      const V32 y = hn::MulAdd(z, hn::Sub(v.load(before + c), n), n);
      v.store(r, a + c);
      v.store(z, a + H + c);
      v.store(n, a + 2 * H + c);
      v.store(hidden, a + 3 * H + c);
      v.store(y, out + c);
      v.store(y, next + c);
    });
  }
}

/// The same with product [active, 4 H].
void lstm_forward(float* h, float* cell, float* gates, float* state, const float* product, std::int64_t stride, const float* c0,
                  const GroupStep& step) {
  const std::int64_t H = step.H;
  for (std::int64_t k = 0; k < step.active; ++k) {
    const std::int64_t row = step.row(k);
    const float *before = step.before(cell, c0, k), *g = product + k * stride;
    float *a = gates + row * 4 * H, *out = h + row * H, *kept = cell + row * H, *next = state + k * H;
    columns(H, [&](std::int64_t c, auto v) HWY_ATTR {
      const V32 i = sigmoid(hn::Add(v.load(a + c), v.load(g + c)));
      const V32 f = sigmoid(hn::Add(v.load(a + H + c), v.load(g + H + c)));
      const V32 u = tanh(hn::Add(v.load(a + 2 * H + c), v.load(g + 2 * H + c)));
      const V32 o = sigmoid(hn::Add(v.load(a + 3 * H + c), v.load(g + 3 * H + c)));
      const V32 now = hn::MulAdd(f, v.load(before + c), hn::Mul(i, u));
      const V32 y = hn::Mul(o, tanh(now));
      v.store(i, a + c);
      v.store(f, a + H + c);
      v.store(u, a + 2 * H + c);
      v.store(o, a + 3 * H + c);
      v.store(now, kept + c);
      v.store(y, out + c);
      v.store(y, next + c);
    });
  }
}

/// state [active, H]: in, the gradient that the next step sends back to h_t, of those that have one; out, what h_{t-1} gets
/// beside W_hh^T dg. product [active, 3 H] receives dg, previous [N, H] h_{t-1}.
void gru_backward(float* previous, float* product, float* state, float* gates, const float* dh, const float* h, const float* h0,
                  const GroupStep& step) {
  const std::int64_t H = step.H;
  for (std::int64_t i = 0; i < step.active; ++i) {
    const std::int64_t row = step.row(i);
    const float *before = step.before(h, h0, i), *given = dh + row * H,
                *carried = i < step.continuing ? state + i * H : step.zeros;
    float *a = gates + row * 4 * H, *g = product + i * 3 * H, *next = state + i * H, *kept = previous + row * H;
    columns(H, [&](std::int64_t c, auto v) HWY_ATTR {
      const V32 r = v.load(a + c), z = v.load(a + H + c), n = v.load(a + 2 * H + c), hidden = v.load(a + 3 * H + c);
      const V32 was = v.load(before + c), dy = hn::Add(v.load(given + c), v.load(carried + c));
      const V32 dn = hn::Mul(hn::NegMulAdd(z, dy, dy), tanh_slope(n));
      const V32 dz = hn::Mul(hn::Mul(dy, hn::Sub(was, n)), sigmoid_slope(z));
      const V32 dr = hn::Mul(hn::Mul(dn, hidden), sigmoid_slope(r)), dhidden = hn::Mul(dn, r);
      v.store(dr, a + c);
      v.store(dz, a + H + c);
      v.store(dn, a + 2 * H + c);
      v.store(dhidden, a + 3 * H + c);
      v.store(dr, g + c);
      v.store(dz, g + H + c);
      v.store(dhidden, g + 2 * H + c);
      v.store(hn::Mul(dy, z), next + c);
      v.store(was, kept + c);
    });
  }
}

/// The same with product [active, 4 H]; of h_{t-1} there is nothing beside the product, and state is only read. dcell
/// [active, H] carries the gradient of c_t from step to step.
void lstm_backward(float* previous, float* product, const float* state, float* dcell, float* gates, const RecurrentOutputs& of,
                   const RecurrentStart& start, const GroupStep& step) {
  const std::int64_t H = step.H;
  for (std::int64_t k = 0; k < step.active; ++k) {
    const std::int64_t row = step.row(k);
    const bool last = k >= step.continuing;
    const float *before = step.before(of.cell, start.c0, k),
                *was = step.before(static_cast<const float*>(of.h), static_cast<const float*>(start.h0), k),
                *given = static_cast<const float*>(of.dh) + row * H, *carried = last ? step.zeros : state + k * H,
                *cell = of.cell + row * H;
    float *a = gates + row * 4 * H, *g = product + k * 4 * H, *next = dcell + k * H, *kept = previous + row * H;
    const float* along = !last ? next : of.dlast_cell == nullptr ? step.zeros : of.dlast_cell + step.sequence(k) * H;
    columns(H, [&](std::int64_t c, auto v) HWY_ATTR {
      const V32 i = v.load(a + c), f = v.load(a + H + c), u = v.load(a + 2 * H + c), o = v.load(a + 3 * H + c);
      const V32 bent = tanh(v.load(cell + c)), dy = hn::Add(v.load(given + c), v.load(carried + c));
      const V32 dc = hn::MulAdd(hn::Mul(dy, o), tanh_slope(bent), v.load(along + c));
      const V32 di = hn::Mul(hn::Mul(dc, u), sigmoid_slope(i)), df = hn::Mul(hn::Mul(dc, v.load(before + c)), sigmoid_slope(f));
      const V32 du = hn::Mul(hn::Mul(dc, i), tanh_slope(u)), dout = hn::Mul(hn::Mul(dy, bent), sigmoid_slope(o));
      std::int64_t at = c;
      for (const V32 d : {di, df, du, dout}) {
        v.store(d, a + at);
        v.store(d, g + at);
        at += H;
      }
      v.store(hn::Mul(dc, f), next + c);
      v.store(v.load(was + c), kept + c);
    });
  }
}

}  // namespace HWY_NAMESPACE
}  // namespace tradewind::kernels::cpu
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace tradewind::kernels::cpu {
namespace {

HWY_EXPORT(gru_forward);
HWY_EXPORT(lstm_forward);
HWY_EXPORT(gru_backward);
HWY_EXPORT(lstm_backward);

/// Packs op(w) [K, N] and calls body(step, memory) for every group on the thread that has it; memory has `floats` a sequence.
template <class Body>
void for_each_group(const RecurrentShape& s, GemmOperand w, std::int64_t K, std::int64_t N, std::int64_t floats,
                    const Launch& launch, Body&& body) {
  const std::int64_t S = s.order->active[0];
  const std::int64_t rounds = (S + launch.threads * kBlockRows - 1) / (launch.threads * kBlockRows);
  const std::int64_t groups = std::min<std::int64_t>(S, launch.threads * rounds), most = (S + groups - 1) / groups;
  const ScratchArray<float> packed(launch, static_cast<std::size_t>(packed_elements(K, N)));
  const ScratchArray<float> memory(launch, static_cast<std::size_t>(launch.threads * most * floats));
  const std::vector<float> zeros(static_cast<std::size_t>(s.H));
  const PackedFactor factor{.data = packed.get(), .K = K, .N = N};
  WorkQueue queue(groups, 1, 1, launch.threads);
  parallel_team(launch.threads, [&](int thread, int team, auto meet) {
    const auto [first, last] = share_of(packed_panels(N), 1, thread, team);
    pack_panels(factor, w, first, last);
    meet();
    for (Share work = queue.take(); work.begin < work.end; work = queue.take())
      body(GroupStep{s.order, s.table, work.begin, groups, s.H, zeros.data()}, factor, memory.get() + thread * most * floats,
           most);
  });
}

void copy_rows_of(float* state, const float* x0, const GroupStep& step) {
  for (std::int64_t i = 0; i < step.active; ++i) std::copy_n(x0 + step.sequence(i) * step.H, step.H, state + i * step.H);
}

/// x0 [S, H] gets the group's rows.
void give_start(float* x0, const float* rows, const GroupStep& step) {
  if (x0 == nullptr) return;
  for (std::int64_t i = 0; i < step.active; ++i) std::copy_n(rows + i * step.H, step.H, x0 + step.sequence(i) * step.H);
}

/// Of sequences without rows: nothing reaches h0, and the last cell is c0.
void give_start_of_empty(const RecurrentGradients& to, const RecurrentOutputs& of, const RecurrentShape& s) {
  for (std::int64_t i = s.order->steps() == 0 ? 0 : s.order->active[0]; i < s.order->S; ++i) {
    const std::int64_t at = s.table[s.order->S + i] * s.H;
    if (to.dh0 != nullptr) std::fill_n(to.dh0 + at, s.H, 0.0F);
    if (to.dc0 == nullptr) continue;
    if (of.dlast_cell == nullptr)
      std::fill_n(to.dc0 + at, s.H, 0.0F);
    else
      std::copy_n(of.dlast_cell + at, s.H, to.dc0 + at);
  }
}

}  // namespace

void recurrent_forward(float* h, float* cell, float* gates, const float* w_hh, const float* b_hh, const RecurrentStart& start,
                       const RecurrentShape& s, const Launch& launch) {
  const std::int64_t H = s.H, N = recurrent_gates(s.kind) * H;
  const auto* h0 = static_cast<const float*>(start.h0);
  for_each_group(s, {w_hh, H, true}, H, N, H + N, launch,
                 [&](GroupStep step, const PackedFactor& factor, float* memory, std::int64_t most) {
                   float *state = memory, *product = memory + most * H;
                   for (std::int64_t t = 0; t < s.order->steps(); ++t) {
                     step.set(t);
                     if (step.active == 0) return;
                     const bool nothing = t == 0 && h0 == nullptr;  // before it: the product is its bias
                     if (t == 0 && h0 != nullptr) copy_rows_of(state, h0, step);
                     if (!nothing)
                       multiply_packed(product, N, {state, H}, factor, b_hh, step.active, 0, packed_panels(N), Write::kAssign);
                     const float* g = nothing ? b_hh : product;
                     const std::int64_t stride = nothing ? 0 : N;
                     if (s.kind == RecurrentKind::kGru)
                       HWY_DYNAMIC_DISPATCH(gru_forward)(h, gates, state, g, stride, h0, step);
                     else
                       HWY_DYNAMIC_DISPATCH(lstm_forward)(h, cell, gates, state, g, stride, start.c0, step);
                   }
                 });
}

void recurrent_backward(float* previous, const RecurrentGradients& to, float* gates, const RecurrentOutputs& of,
                        const float* w_hh, const RecurrentStart& start, const RecurrentShape& s, const Launch& launch) {
  give_start_of_empty(to, of, s);
  if (s.order->N == 0) return;
  const std::int64_t H = s.H, K = recurrent_gates(s.kind) * H;
  const bool gru = s.kind == RecurrentKind::kGru;
  for_each_group(s, {w_hh, H}, K, H, 2 * H + K, launch,
                 [&](GroupStep step, const PackedFactor& factor, float* memory, std::int64_t most) {
                   float *state = memory, *dcell = state + most * H, *product = dcell + most * H;
                   for (std::int64_t t = s.order->steps(); t-- > 0;) {
                     step.set(t);
                     if (step.active == 0) continue;
                     if (gru) HWY_DYNAMIC_DISPATCH(gru_backward)
                     (previous, product, state, gates, static_cast<const float*>(of.dh), static_cast<const float*>(of.h),
                      static_cast<const float*>(start.h0), step);
                     else HWY_DYNAMIC_DISPATCH(lstm_backward)(previous, product, state, dcell, gates, of, start, step);
                     if (t == 0 && to.dh0 == nullptr) continue;
                     multiply_packed(state, H, {product, K}, factor, nullptr, step.active, 0, packed_panels(H),
                                     gru ? Write::kAccumulate : Write::kAssign);
                   }
                   give_start(to.dh0, state, step);
                   give_start(to.dc0, dcell, step);
                 });
}

}  // namespace tradewind::kernels::cpu
#endif  // HWY_ONCE
