// Transformers over histories of items against PyTorch (tests/golden/sequence/generate.py).
#include <boost/test/unit_test.hpp>

#include "models/recommend/bert4rec.h"
#include "models/recommend/sasrec.h"
#include "runtime/core/transfer.h"
#include "tests/support/oracle.h"
#include "tests/support/safetensors.h"

namespace tradewind::tests {
namespace {

using namespace runtime;  // NOLINT

constexpr std::int64_t kItems = 11, kChannels = 16, kContext = 8;

models::ItemTransformerConfig golden_net(const std::string& block) {
  const bool normalised = block == "normalised_residual";
  models::ItemTransformerConfig c;
  c.heads = 2;
  c.channels = kChannels;
  c.context_length = kContext;
  c.dropout = 0;
  c.block = block;
  c.hidden = normalised ? kChannels : 2 * kChannels;
  c.activation = normalised ? "relu" : "gelu_exact";
  c.scale_items = normalised;
  c.norm_epsilon = block == "pre_norm" ? 1e-5 : normalised ? 1e-8 : 1e-12;
  return c;
}

Batch packed(const GoldenTensors& golden) {
  const auto& ids = golden["ids"].ints;
  const auto N = static_cast<std::int64_t>(ids.size());
  const auto of = [&](DType type) { return Tensor(host_allocator(), {N}, type); };
  Batch batch;
  const Tensor offsets(host_allocator(), {golden["lengths"].elements() + 1}, DType::kInt64);
  batch.fields = {{"ids", of(DType::kInt32)},   {"targets", of(DType::kInt32)},  {"positions", of(DType::kInt32)},
                  {"slots", of(DType::kInt32)}, {"samples", of(DType::kUInt64)}, {"offsets", offsets}};
  std::int64_t n = 0, s = 0;
  offsets.data<std::int64_t>()[0] = 0;
  for (const std::int64_t length : golden["lengths"].ints) {
    for (std::int32_t t = 0; t < length; ++t, ++n) {
      const auto at = static_cast<std::size_t>(n);
      batch["ids"].data<std::int32_t>()[n] = static_cast<std::int32_t>(ids[at]);
      batch["targets"].data<std::int32_t>()[n] = static_cast<std::int32_t>(golden["targets"].ints[at]);
      batch["positions"].data<std::int32_t>()[n] = batch["slots"].data<std::int32_t>()[n] = t;
      batch["samples"].data<std::uint64_t>()[n] = static_cast<std::uint64_t>(s);
      batch.valid += golden["targets"].ints[at] >= 0 ? 1 : 0;
    }
    offsets.data<std::int64_t>()[++s] = n;
    batch.max_length = std::max(batch.max_length, length);
  }
  return batch;
}

std::vector<double> wide(std::span<const float> values) { return {values.begin(), values.end()}; }

void check_golden(const std::string& file, Context& context, models::Recommender& model) {
  const GoldenTensors golden(golden_path("sequence/" + file + ".safetensors"));
  auto& store = model.parameters();
  store.allocate(context);
  for (const auto& p : store.parameters()) copy_from_host(p->value(), golden.values(p->name()).data());
  const Batch batch = packed(golden);
  context.step_state().loss_scale[0] = 1.0F / static_cast<float>(batch.valid);
  store.begin_step();
  {
    Tape tape(context, true);
    const auto losses = model.forward(tape, batch);
    check_close(file + ": loss", wide(losses.loss.span<float>()), wide(golden.values("loss")), 1e-5);
    tape.backward();
  }
  store.finish_gradients();
  std::size_t gradients = 0;
  for (const auto& [name, tensor] : golden.all()) gradients += name.starts_with("grad.") ? 1 : 0;
  BOOST_CHECK_EQUAL(gradients, store.parameters().size());
  for (const auto& p : store.parameters())
    check_close(file + ": " + p->name(), wide(p->gradient().span<float>()), wide(golden.values("grad." + p->name())), 1e-4);

  if (file == "bidirectional") return;  // serving puts a mask behind the history
  const Tensor queries = model.queries(context, batch);
  std::vector<double> last;
  std::int64_t end = 0;
  for (const std::int64_t length : golden["lengths"].ints) {
    end += length;
    const auto row = std::span(golden.values("hidden")).subspan(static_cast<std::size_t>((end - 1) * kChannels), kChannels);
    last.insert(last.end(), row.begin(), row.end());
  }
  check_close(file + ": queries", wide(queries.span<float>()), last, 1e-5);
}

}  // namespace

BOOST_AUTO_TEST_CASE(blocks_are_those_of_pytorch) {
  for (const std::string block : {"pre_norm", "post_norm", "normalised_residual"}) {
    models::SasRecConfig config;
    config.net = golden_net(block);
    Context context({}, 2, 1);
    models::SasRec model(config, kItems);
    check_golden(block, context, model);
  }
}

BOOST_AUTO_TEST_CASE(bert4rec_is_pytorchs_encoder_over_hidden_items) {
  models::Bert4RecConfig config;
  config.net = golden_net("post_norm");
  Context context({}, 2, 1);
  models::Bert4Rec model(config, kItems);
  check_golden("bidirectional", context, model);
}

}  // namespace tradewind::tests
