// The golden values of tests/golden/layers, that every executor must reach: the CPU (golden_test.cpp) and the CUDA kernels on
// the executor of tests/simt. Of attention and the layers with a table: golden_attention_case.h, golden_table_case.h.
#pragma once

#include <boost/test/unit_test.hpp>
#include <string>
#include <tuple>
#include <utility>
#include <vector>

#include "kernels/activation.h"
#include "kernels/l2_normalize.h"
#include "kernels/linear.h"
#include "kernels/norm.h"
#include "kernels/rope.h"
#include "kernels/softmax.h"
#include "tests/support/oracle.h"
#include "tests/support/placed_arrays.h"
#include "tests/support/safetensors.h"

namespace tradewind::tests {

using kernels::DType;
using kernels::Write;

inline GoldenTensors golden_layer(const std::string& name) {
  return GoldenTensors(golden_path("layers/" + name + ".safetensors"));
}

/// What float32 results may be off by: as much as the op's list of cases allows on a device (kernels/README.md).
struct GoldenWay {
  Place* place = nullptr;  // null: the CPU
  double on(double cpu, double device) const { return place == nullptr ? cpu : device; }
};

inline void check_golden_activations(const GoldenWay& way) {
  using kernels::Activation;
  for (const auto& [name, activation] : {std::pair{std::string("gelu_tanh"), Activation::kGeluTanh},
                                         {std::string("gelu_exact"), Activation::kGeluExact},
                                         {std::string("silu"), Activation::kSilu}}) {
    const GoldenTensors golden = golden_layer(name);
    const auto& x = golden.values("x");
    const auto count = static_cast<std::int64_t>(x.size());
    std::vector<float> y(x.size()), dx(x.size());
    PlacedArrays at(way.place, DType::kFloat32);
    const void* given = at.read(x);
    kernels::activation_forward(at.elements(y), given, count, activation, DType::kFloat32, at.launch());
    kernels::activation_backward(at.elements(dx), nullptr, at.read(golden.values("grad_out")), given, count, activation,
                                 Write::kAssign, DType::kFloat32, at.launch());
    at.fetch();
    check_close(name + " out", y, golden.values("out"), way.on(1e-6, 2e-6));
    check_close(name + " grad_x", dx, golden.values("grad_x"), way.on(1e-6, 2e-6));
  }
}

inline void check_golden_swiglu(const GoldenWay& way) {
  const GoldenTensors golden = golden_layer("swiglu");
  const auto &gate = golden.values("gate"), &up = golden.values("up");
  const std::size_t N = 4, C = 10;
  std::vector<float> x(N * 2 * C), y(N * C), dx(N * 2 * C), dgate, dup;
  for (std::size_t n = 0; n < N; ++n) {
    std::copy_n(&gate[n * C], C, &x[n * 2 * C]);
    std::copy_n(&up[n * C], C, &x[n * 2 * C + C]);
  }
  PlacedArrays at(way.place, DType::kFloat32);
  const void* given = at.read(x);
  kernels::swiglu_forward(at.elements(y), given, 4, 10, DType::kFloat32, at.launch());
  kernels::swiglu_backward(at.elements(dx), at.read(golden.values("grad_out")), given, 4, 10, Write::kAssign, DType::kFloat32,
                           at.launch());
  at.fetch();
  for (std::size_t n = 0; n < N; ++n) {
    dgate.insert(dgate.end(), &dx[n * 2 * C], &dx[n * 2 * C + C]);
    dup.insert(dup.end(), &dx[n * 2 * C + C], &dx[n * 2 * C] + 2 * C);
  }
  check_close("swiglu out", y, golden.values("out"), way.on(1e-6, 2e-6));
  check_close("swiglu grad_gate", dgate, golden.values("grad_gate"), way.on(1e-6, 2e-6));
  check_close("swiglu grad_up", dup, golden.values("grad_up"), way.on(1e-6, 2e-6));
}

inline void check_golden_l2_normalize(const GoldenWay& way) {
  const GoldenTensors golden = golden_layer("l2_normalize");
  std::vector<float> y(36), length(4), dx(36);
  PlacedArrays at(way.place, DType::kFloat32);
  void* to = at.elements(y);
  float* lengths = at.array(length);
  kernels::l2_normalize_forward(to, lengths, at.read(golden.values("x")), 4, 9, {}, at.launch());
  kernels::l2_normalize_backward(at.elements(dx), at.read(golden.values("grad_out")), to, lengths, 4, 9, Write::kAssign, {},
                                 at.launch());
  at.fetch();
  check_close("out", y, golden.values("out"), way.on(1e-6, 2e-6));
  check_close("grad_x", dx, golden.values("grad_x"), way.on(1e-6, 2e-6));
}

inline void check_golden_linear(const GoldenWay& way) {
  const GoldenTensors golden = golden_layer("linear");
  const kernels::LinearShape shape{10, 7, 12};
  std::vector<float> y(70), dx(120), dw(84), db(7);
  PlacedArrays at(way.place, DType::kFloat32);
  const void *x = at.read(golden.values("x")), *w = at.read(golden.values("weight")), *dy = at.read(golden.values("grad_out"));
  kernels::linear_forward(at.elements(y), nullptr, x, w, at.read(golden.values("bias")), shape, {}, at.launch());
  kernels::linear_backward_input(at.elements(dx), dy, w, shape, Write::kAssign, {}, at.launch());
  kernels::linear_backward_weight(at.array(dw), at.array(db), dy, x, shape, Write::kAssign, {}, at.launch());
  at.fetch();
  check_close("out", y, golden.values("out"), way.on(1e-6, 3e-6));
  check_close("grad_x", dx, golden.values("grad_x"), way.on(1e-6, 3e-6));
  check_close("grad_weight", dw, golden.values("grad_weight"), way.on(1e-6, 3e-6));
  check_close("grad_bias", db, golden.values("grad_bias"), way.on(1e-6, 3e-6));
}

inline void check_golden_norms(const GoldenWay& way) {
  using kernels::NormKind;
  for (const auto& [name, kind, epsilon] : {std::tuple{std::string("layer_norm"), NormKind::kLayerNorm, 1e-5F},
                                            {std::string("layer_norm_offset"), NormKind::kLayerNorm, 1e-12F},
                                            {std::string("rms_norm"), NormKind::kRmsNorm, 1e-5F}}) {
    const GoldenTensors golden = golden_layer(name);
    const bool layer = kind == NormKind::kLayerNorm;
    const kernels::NormOptions options{.kind = kind, .epsilon = epsilon, .dtype = DType::kFloat32};
    const auto C = static_cast<std::int64_t>(golden.values("weight").size()),
               N = static_cast<std::int64_t>(golden.values("x").size()) / C;
    std::vector<float> y(golden.values("x").size()), mean(static_cast<std::size_t>(N)), rstd(mean.size()), dx(y.size()),
        dw(static_cast<std::size_t>(C)), db(dw.size());
    PlacedArrays at(way.place, DType::kFloat32);
    float *means = layer ? at.array(mean) : nullptr, *rstds = at.array(rstd);
    const void* x = at.read(golden.values("x"));
    const float *w = at.values(golden.values("weight")), *bias = layer ? at.values(golden.values("bias")) : nullptr;
    kernels::norm_forward(at.elements(y), means, rstds, x, w, bias, N, C, options, at.launch());
    kernels::norm_backward(at.elements(dx), at.array(dw), layer ? at.array(db) : nullptr, at.read(golden.values("grad_out")), x,
                           means, rstds, w, N, C, Write::kAssign, Write::kAssign, options, at.launch());
    at.fetch();
    const bool offset = name == "layer_norm_offset";  // a large mean
    check_close(name + " out", y, golden.values("out"), offset ? 1e-5 : way.on(1e-6, 5e-6));
    check_close(name + " grad_x", dx, golden.values("grad_x"), offset ? 1e-4 : way.on(1e-6, 5e-6));
    check_close(name + " grad_weight", dw, golden.values("grad_weight"), offset ? 1e-4 : way.on(1e-6, 5e-6));
    if (layer) check_close(name + " grad_bias", db, golden.values("grad_bias"), way.on(1e-6, 5e-6));
  }
}

inline void check_golden_rope(const GoldenWay& way) {
  using kernels::RopeLayout;
  for (const auto& [name, layout] :
       {std::pair{std::string("rope_half"), RopeLayout::kHalf}, {std::string("rope_interleaved"), RopeLayout::kInterleaved}}) {
    const GoldenTensors golden = golden_layer(name);
    const auto ids = golden["positions"].ids();  // [2, 6]; x is [2, 3 heads, 6, 8]
    std::vector<std::int32_t> position;
    for (std::size_t r = 0; r < 36; ++r) position.push_back(ids[r / 18 * 6 + r % 6]);
    auto y = golden.values("x"), dx = golden.values("grad_out");
    PlacedArrays at(way.place, DType::kFloat32);
    const std::int32_t* positions = at.values(position);
    kernels::rope_apply(at.elements(y), positions, 36, 1, 8, 8, {.layout = layout}, at.launch());
    kernels::rope_apply(at.elements(dx), positions, 36, 1, 8, 8, {.layout = layout, .backward = true}, at.launch());
    at.fetch();
    check_close(name + " out", y, golden.values("out"), 1e-6);
    check_close(name + " grad_x", dx, golden.values("grad_x"), 1e-6);
  }
}

inline void check_golden_softmax(const GoldenWay& way) {
  const GoldenTensors golden = golden_layer("softmax");
  std::vector<float> y(44), dx(44), log(44), dx_log(44);
  PlacedArrays at(way.place, DType::kFloat32);
  void *to = at.elements(y), *to_log = at.elements(log), *to_dx = at.elements(dx);
  const void* x = at.read(golden.values("x"));
  kernels::softmax_forward(to, x, 4, 11, false, DType::kFloat32, at.launch(2));
  kernels::softmax_forward(to_log, x, 4, 11, true, DType::kFloat32, at.launch(2));
  kernels::softmax_backward(to_dx, at.read(golden.values("grad_out")), to, 4, 11, false, Write::kAssign, DType::kFloat32,
                            at.launch(2));
  kernels::softmax_backward(to_dx, at.read(golden.values("grad_log_out")), to_log, 4, 11, true, Write::kAccumulate,
                            DType::kFloat32, at.launch(2));
  at.fetch();
  check_close("out", y, golden.values("out"), 1e-6);
  check_close("log_out", log, golden.values("log_out"), 1e-6);
  check_close("grad_x", dx, golden.values("grad_x"), 3e-6);
}

}  // namespace tradewind::tests
