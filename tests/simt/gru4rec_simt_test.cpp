// GRU4Rec and LSTM with device = "cuda", on the executor: losses, gradients and the vectors of histories beside the CPU's.
#include "models/recommend/recurrent.h"
#include "tests/models/recommender_fixture.h"
#include "tests/simt/fixture.h"
#include "tests/support/histories.h"
#include "tests/support/oracle.h"

namespace tradewind::tests {
namespace {

using kernels::DType;
using kernels::RecurrentKind;
using runtime::SampleRef;
using Values = std::vector<std::pair<std::string, std::vector<float>>>;

/// Losses, every gradient, and what recommend scores with, of two layers with dropout and another width between them.
Values results(RecurrentKind kind, kernels::Device device, DType compute) {
  models::RecurrentConfig config(kind);
  config.layers = 2;
  config.channels = 8;
  config.hidden = 16;
  config.context_length = 6;
  config.init_deviation = 0.5;
  config.dropout = 0.25;
  RecommenderFixture<models::RecurrentRecommender> f(config, 20, device, compute);
  const auto batch =
      runtime::SequenceDataset(shop_of({{1, 2, 3, 4, 5, 6}, {7, 2, 9, 3}, {4, 5, 6, 7, 8, 9, 1, 2, 3}}, 20), {.context = 6})
          .collate(std::vector<SampleRef>{{0, 0, 0}, {1, 0, 1}, {2, 0, 2}});
  Values out{{"losses", f.losses(batch)}};
  f.gradients(batch, 0.1F);
  for (const auto& p : f.model.parameters().parameters())
    out.emplace_back("gradient of " + p->name(), floats_of(p->gradient()));
  f.context.set_stable_rows(true);
  const auto histories = runtime::pack_histories(std::vector<std::vector<std::int32_t>>{{1, 2}, {}, {5, 6, 7}}, 6);
  out.emplace_back("queries", floats_of(f.model.queries(f.context, on_device(f.context, histories))));
  return out;
}

}  // namespace

BOOST_AUTO_TEST_CASE(losses_gradients_and_queries_are_those_of_the_cpu) {
  std::uint64_t seed = 0;
  for (const RecurrentKind kind : {RecurrentKind::kGru, RecurrentKind::kLstm}) {
    const Values want = results(kind, {}, DType::kFloat32);
    for (const DType compute : {DType::kFloat32, DType::kBFloat16}) {
      ++seed;
      simt::Machine machine({.seed = seed, .schedule = seed % 2 == 0 ? simt::Schedule::kRandom : simt::Schedule::kWarpAhead});
      const Values got = results(kind, kGpu, compute);
      BOOST_CHECK_EQUAL(machine.first_fault(), "");
      for (std::size_t i = 0; i < want.size(); ++i)
        check_close(want[i].first, got[i].second, want[i].second, compute == DType::kFloat32 ? 2e-5 : 5e-2);
    }
  }
}

}  // namespace tradewind::tests
