// The CUDA kernels of embedding bags on a GPU: the cases of the executor, and one large enough to fill it.
#include <cstdio>

#include "tests/cuda/gpu.h"
#include "tests/cuda/gpu_place.h"
#include "tests/kernels/embedding_bag_case.h"

using namespace tradewind::tests;

BOOST_AUTO_TEST_CASE(embedding_bags_agree_with_float64_on_a_gpu) {
  const std::string missing = why_no_gpu();
  if (!missing.empty()) {
    std::printf("SKIPPED cuda/embedding_bag_gpu_test: %s\n", missing.c_str());
    return;
  }
  GpuPlace place;
  for (const DType dtype : {DType::kFloat32, DType::kBFloat16}) {
    std::vector<BagCase> cases = bag_cases({8, 20, 64, 72, 100, 132, 256, 260, 264, 520, 5, 65}, dtype);
    for (const auto& more : {hot_cases(8, dtype), hot_cases(5, dtype)}) cases.insert(cases.end(), more.begin(), more.end());
    for (const BagMethod& method : kBagMethods) {
      BagCase large{
          .tables = {3, 5000, 20}, .B = 3000, .C = 64, .mode = method.mode, .weighted = method.weighted, .dtype = dtype};
      large.prepare(11);
      cases.push_back(std::move(large));
    }
    for (const BagCase& c : cases) check_case(c, &place);
  }
  for (const BagCase& c : empty_bag_cases()) check_case(c, &place);
}
