// Every golden value that the kernels have, in the order in which an executor reaches them: run(name, check(way)).
#pragma once

#include "tests/kernels/golden_attention_case.h"
#include "tests/kernels/golden_optimizer_case.h"
#include "tests/kernels/golden_table_case.h"

namespace tradewind::tests {

template <class Run>
void for_each_golden(const Run& run) {
  run("activations", check_golden_activations);
  run("swiglu", check_golden_swiglu);
  run("l2_normalize", check_golden_l2_normalize);
  run("linear", check_golden_linear);
  run("norms", check_golden_norms);
  run("rope", check_golden_rope);
  run("softmax", check_golden_softmax);
  run("embedding", check_golden_embedding);
  run("bags, sum", [](const GoldenWay& way) { check_golden_bags("sum", kernels::BagMode::kSum, true, way); });
  run("bags, mean", [](const GoldenWay& way) { check_golden_bags("mean", kernels::BagMode::kMean, false, way); });
  run("bags, max", [](const GoldenWay& way) { check_golden_bags("max", kernels::BagMode::kMax, false, way); });
  run("row-wise Adagrad", check_golden_rowwise_adagrad);
  run("losses", check_golden_losses);
  for (const GoldenAttention& g : kGoldenAttention) run(g.name, [&g](const GoldenWay& way) { check_golden_attention(g, way); });
  run("optimizers", check_golden_optimizers);
}

}  // namespace tradewind::tests
