#include "models/recommend/bpr_mf.h"

#include "kernels/embedding.h"
#include "runtime/core/transfer.h"
#include "runtime/ops/candidate_loss.h"
#include "runtime/ops/embedding.h"

namespace tradewind::models {

using namespace runtime;  // NOLINT: a model is written in the runtime's terms

void BprConfig::describe(Fields& f) {
  f.field("channels", channels, "Width of a user's and of an item's vector.", {.min = 1});
  f.field("negatives", negatives_per_event, "Drawn for each event, from what the user has not had.", {.min = 1});
  f.field("init_deviation", init_deviation,
          "Standard deviation of the initial vectors; 0: Xavier's, the root of 2 / (rows + channels) of each table.",
          {.min = 0});
}

std::unique_ptr<Task> BprConfig::build(const ModelInputs& inputs) const {
  return std::make_unique<BprMf>(*this, inputs.users, inputs.vocabulary);
}

BprMf::BprMf(const BprConfig& config, std::int64_t users, std::int64_t items) : config_(config) {
  const auto table = [&](const char* name, std::int64_t rows) {
    const Init init = config.init_deviation > 0 ? Init::normal(static_cast<float>(config.init_deviation))
                                                : Init::xavier_normal(rows, config.channels);
    return &store_.add(name, {rows, config.channels}, init, true);
  };
  users_ = table("user_embedding.weight", users);
  items_ = table("item_embedding.weight", items);
}

RowLosses BprMf::forward(Tape& tape, const Batch& batch) {
  kernels::CandidateLossOptions options;
  options.kind = kernels::CandidateLossKind::kBpr;
  options.mean = kernels::CandidateMean::kNegatives;
  return candidate_loss(tape, embedding(tape, *users_, batch["users"]), *items_, nullptr,
                        {.targets = batch["targets"], .negatives = batch["negatives"], .log_q = {}, .identity = {}}, options);
}

bool BprMf::knows(std::int32_t user, std::span<const std::int32_t> /*history*/) const {
  return user >= 0 && user < users_->shape()[0];
}

Tensor BprMf::queries(Context& context, const Batch& batch) {
  const Tensor& users = batch.on_host("users");
  const std::int64_t S = users.elements(), C = config_.channels;
  const Tensor rows(host_allocator(), {S}, DType::kInt32);
  for (std::int64_t s = 0; s < S; ++s) {
    const std::int32_t user = users.data<std::int32_t>()[s];
    rows.data<std::int32_t>()[s] = knows(user, {}) ? user : 0;
  }
  const Tensor& table = users_->compute();
  Tensor out = context.tensor({S, C}, table.dtype());
  const Tensor where = on_device(context, rows);
  kernels::embedding_forward(out.raw(), table.raw(), where.data<std::int32_t>(), S, table.size(0), C, kernels::Write::kAssign,
                             table.dtype(), context.launch());
  for (std::int64_t s = 0; s < S; ++s)
    if (!knows(users.data<std::int32_t>()[s], {})) out.view(s * C, {C}).zero();
  return out;
}

CostEstimate BprMf::cost() const {
  const auto score = 2 * static_cast<double>(config_.channels);
  return {.flops_per_target = score,
          .flops_per_negative = score,
          .sample = {.rows = 1, .pairs = 1, .targets = 1},
          .activation_bytes_per_sample = 8 * config_.channels,
          .candidates = {.rows = items(), .channels = config_.channels, .negatives = config_.negatives_per_event}};
}

}  // namespace tradewind::models
