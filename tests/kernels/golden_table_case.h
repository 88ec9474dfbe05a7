// The golden values of embedding, embedding bags and the loss over a vocabulary, on every executor: see golden_case.h.
#pragma once

#include "kernels/embedding.h"
#include "kernels/embedding_bag.h"
#include "kernels/linear_cross_entropy.h"
#include "tests/kernels/golden_case.h"

namespace tradewind::tests {

inline void check_golden_embedding(const GoldenWay& way) {
  const GoldenTensors golden = golden_layer("embedding");
  const auto ids = golden["ids"].ids();
  std::vector<float> y(8 * 6), dtable(11 * 6);
  PlacedArrays at(way.place, DType::kFloat32);
  const std::int32_t* on_ids = at.values(ids);
  kernels::embedding_forward(at.elements(y), at.read(golden.values("weight")), on_ids, 8, 11, 6, Write::kAssign,
                             DType::kFloat32, at.launch());
  kernels::embedding_backward_dense(at.array(dtable), at.read(golden.values("grad_out")), on_ids, 8, 11, 6, Write::kAssign,
                                    DType::kFloat32, at.launch());
  at.fetch();
  check_close("out", y, golden.values("out"), 0);
  check_close("grad_weight", dtable, golden.values("grad_weight"), 1e-6);
}

/// Looked up in one table of 12 rows of 5 channels.
inline void check_golden_bags(const std::string& name, kernels::BagMode mode, bool weighted, const GoldenWay& way) {
  const GoldenTensors golden = golden_layer("embedding_bag_" + name);
  constexpr std::int64_t kV = 12, kC = 5;
  const auto ids = golden["ids"].ids();
  const auto& offsets = golden["offsets"].ints;
  BOOST_REQUIRE(offsets.size() >= 7);
  const auto B = static_cast<std::int64_t>(offsets.size()) - 1, N = static_cast<std::int64_t>(ids.size());
  std::vector<float> out(static_cast<std::size_t>(B * kC)), values(ids.size() * kC), dweights(ids.size());
  std::vector<std::int32_t> argmax(out.size()), rows(ids.size());
  std::vector<std::int64_t> begins(2);
  const std::vector<std::int64_t> row_offsets = {0, kV};
  PlacedArrays at(way.place, DType::kFloat32);
  const kernels::BagShape shape{.T = 1,
                                .B = B,
                                .C = kC,
                                .V = kV,
                                .N = N,
                                .row_offsets = at.values(row_offsets),
                                .bag_offsets = at.values(offsets),
                                .ids = at.values(ids),
                                .stride = kC};
  const kernels::BagOptions options{.mode = mode, .weights = weighted ? at.values(golden.values("sample_weight")) : nullptr};
  std::int32_t* to_argmax = mode == kernels::BagMode::kMax ? at.array(argmax) : nullptr;
  const void* table = at.read(golden.values("weight"));
  kernels::embedding_bag_forward(at.elements(out), to_argmax, table, shape, options, at.launch());
  kernels::embedding_bag_backward({.rows = at.array(rows), .values = at.array(values), .begins = at.array(begins)},
                                  weighted ? at.array(dweights) : nullptr, at.read(golden.values("grad_out")), table, to_argmax,
                                  shape, options, Write::kAssign, at.launch());
  at.fetch();
  std::vector<float> dtable(kV * kC), want = golden.values("out");
  want.resize(out.size());
  BOOST_REQUIRE(begins[1] <= N);
  for (std::int64_t i = 0; i < begins[1]; ++i) std::copy_n(&values[i * kC], kC, &dtable[rows[i] * kC]);
  check_close(name + " out", out, want, way.on(1e-6, 2e-6));
  check_close(name + " grad_weight", dtable, golden.values("grad_weight"), way.on(1e-6, 2e-6));
  if (weighted) check_close(name + " grad_sample_weight", dweights, golden.values("grad_sample_weight"), way.on(1e-6, 2e-6));
}

/// 20 steps of 6 lookups, fused with the update.
inline void check_golden_rowwise_adagrad(const GoldenWay& way) {
  const GoldenTensors golden(golden_path("optim/sparse.safetensors"));
  std::vector<float> table = golden.values("start"), moment(12), trajectory = table;
  const std::vector<std::int32_t> all_ids = golden["ids"].ids();
  const std::vector<std::int64_t> row_offsets = {0, 12}, bag_offsets = {0, 1, 2, 3, 4, 5, 6};
  const kernels::StepState step{.learning_rate = 0.1F};
  for (std::size_t i = 0; i < 20; ++i) {
    const std::vector<std::int32_t> ids(&all_ids[6 * i], &all_ids[6 * i] + 6);
    const std::vector<float> gradients(&golden.values("gradients")[24 * i], &golden.values("gradients")[24 * i] + 24);
    PlacedArrays at(way.place, DType::kFloat32);
    const kernels::BagShape shape{.T = 1,
                                  .B = 6,
                                  .C = 4,
                                  .V = 12,
                                  .N = 6,
                                  .row_offsets = at.values(row_offsets),
                                  .bag_offsets = at.values(bag_offsets),
                                  .ids = at.values(ids),
                                  .stride = 4};
    kernels::Launch launch = at.launch();
    launch.step = at.value(step);
    kernels::embedding_bag_update(at.elements(table), at.array(moment), nullptr, at.read(gradients), nullptr, shape, {},
                                  Write::kAssign, {.epsilon = 1e-8F}, launch);
    at.fetch();
    trajectory.insert(trajectory.end(), table.begin(), table.end());
  }
  check_close("rowwise_adagrad", trajectory, golden.values("rowwise_adagrad"), way.on(1e-6, 2e-6));
  check_close("rowwise_adagrad_sums", moment, golden.values("rowwise_adagrad_sums"), way.on(1e-6, 2e-6));
}

/// The golden losses are means over logits that were given: x is the logits and w the unit matrix.
inline void check_golden_losses(const GoldenWay& way) {
  for (const auto& [name, smoothing, z_loss] : {std::tuple{std::string("cross_entropy"), 0.0F, 0.0F},
                                                {std::string("cross_entropy_label_smoothing"), 0.1F, 0.0F},
                                                {std::string("cross_entropy_z_loss"), 0.0F, 0.01F}}) {
    const GoldenTensors golden = golden_layer(name);
    const auto targets = golden["labels"].ids();
    std::vector<float> w(100), loss(8), dx(80), dw(100);
    for (std::size_t i = 0; i < 10; ++i) w[i * 11] = 1;
    std::int64_t valid = 0;
    for (const auto t : targets) valid += t != -100;
    kernels::StepState step;
    step.loss_scale[0] = golden.values("grad_out")[0] / static_cast<float>(valid);
    PlacedArrays at(way.place, DType::kFloat32);
    kernels::Launch launch = at.launch(2);
    launch.step = at.value(step);
    kernels::linear_cross_entropy(at.array(loss), nullptr, nullptr, at.elements(dx), at.array(dw), nullptr,
                                  at.read(golden.values("logits")), at.read(w), nullptr, at.values(targets), 8, 10, 10,
                                  Write::kAssign, {.label_smoothing = smoothing, .z_loss = z_loss}, launch);
    at.fetch();
    double mean = 0;
    for (const float value : loss) mean += value / static_cast<double>(valid);
    check_close(name + " out", std::vector<double>{mean}, golden.values("out"), way.on(1e-6, 3e-6));
    check_close(name + " grad_logits", dx, golden.values("grad_logits"), way.on(2e-6, 3e-6));
  }
}

}  // namespace tradewind::tests
