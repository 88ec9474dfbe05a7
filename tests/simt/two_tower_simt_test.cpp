// Two towers with device = "cuda", on the executor: losses, gradients and the vectors of histories and items beside the CPU's.
#include "models/recommend/two_tower.h"
#include "tests/models/recommender_fixture.h"
#include "tests/simt/fixture.h"
#include "tests/support/attributes.h"
#include "tests/support/histories.h"
#include "tests/support/oracle.h"

namespace tradewind::tests {
namespace {

using kernels::DType;
using runtime::SampleRef;
using Values = std::vector<std::pair<std::string, std::vector<float>>>;

constexpr std::int32_t kItems = 20;

/// Losses, every gradient, and what recommend scores with.
Values results(const std::string& loss, kernels::Device device, DType compute) {
  models::TwoTowerConfig config;
  config.channels = 8;
  config.hidden = 16;
  config.context_length = 6;
  config.init_deviation = 0.5;
  config.temperature = 0.5;
  config.dropout = 0.25;
  config.loss.kind = loss;
  RecommenderFixture<models::TwoTower> f(config, kItems, device, compute, some_attributes(kItems));
  const runtime::SequenceDataset data(shop_of({{1, 2, 3, 4, 5, 6}, {7, 2, 9, 3}, {4, 5, 6, 7, 8, 9, 1, 2, 3}}, kItems),
                                      {.context = 6, .negatives = config.negatives()});
  const auto batch = data.collate(std::vector<SampleRef>{{0, 0, 0}, {1, 0, 1}, {2, 0, 2}});
  Values out{{"losses", f.losses(batch)}};
  f.gradients(batch, 0.1F);
  for (const auto& p : f.model.parameters().parameters())
    out.emplace_back("gradient of " + p->name(), floats_of(p->gradient()));
  f.context.set_stable_rows(true);
  out.emplace_back("items", floats_of(f.model.item_vectors(f.context)));
  const auto histories = runtime::pack_histories(std::vector<std::vector<std::int32_t>>{{1, 2}, {}, {5, 6, 7}}, 6);
  out.emplace_back("queries", floats_of(f.model.queries(f.context, on_device(f.context, histories))));
  return out;
}

}  // namespace

BOOST_AUTO_TEST_CASE(losses_gradients_and_vectors_are_those_of_the_cpu) {
  std::uint64_t seed = 0;
  for (const char* loss : {"sampled_softmax", "softmax"}) {
    const Values want = results(loss, {}, DType::kFloat32);
    for (const DType compute : {DType::kFloat32, DType::kBFloat16}) {
      ++seed;
      simt::Machine machine({.seed = seed, .schedule = seed % 2 == 0 ? simt::Schedule::kRandom : simt::Schedule::kWarpAhead});
      const Values got = results(loss, kGpu, compute);
      BOOST_CHECK_EQUAL(machine.first_fault(), "");
      for (std::size_t i = 0; i < want.size(); ++i)
        check_close(want[i].first, got[i].second, want[i].second, compute == DType::kFloat32 ? 2e-5 : 5e-2);
    }
  }
}

}  // namespace tradewind::tests
