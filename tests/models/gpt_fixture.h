// A GPT, its context and batches, as the model's tests build them.
#pragma once

#include <algorithm>
#include <memory>
#include <vector>

#include "models/language/generate.h"
#include "models/language/gpt.h"
#include "tests/support/oracle.h"

namespace tradewind::tests {

struct GptFixture {
  runtime::Context context;
  models::Gpt model;

  GptFixture(const models::GptConfig& config, std::int64_t vocabulary, int threads = 2, std::uint64_t seed = 1,
             kernels::Device device = {}, kernels::DType compute = kernels::DType::kFloat32)
      : context(device, threads, seed, compute), model(config, vocabulary) {
    model.parameters().allocate(context);
  }

  /// Losses of every row, without recording.
  std::vector<float> losses(const runtime::Batch& batch) {
    runtime::Tape tape(context, false);
    const auto loss = on_host(model.row_losses(tape, on_device(context, batch)).loss);
    const auto values = loss.span<float>();
    return {values.begin(), values.end()};
  }

  /// Forward and backward of one micro-batch that is the whole step; returns the mean loss.
  double accumulate(const runtime::Batch& batch, std::int64_t valid_in_step) {
    context.step_state().loss_scale[0] = 1.0F / static_cast<float>(valid_in_step);
    context.publish_step_state();
    runtime::Tape tape(context, true);
    runtime::LossCounter losses(context);
    losses.add(model.forward(tape, on_device(context, batch)));
    tape.backward();
    return losses.sums().loss / static_cast<double>(valid_in_step);
  }
};

inline runtime::Batch with_targets(runtime::Batch batch, const std::vector<std::int32_t>& targets) {
  runtime::Tensor t(runtime::host_allocator(), {static_cast<std::int64_t>(targets.size())}, kernels::DType::kInt32);
  std::ranges::copy(targets, t.data<std::int32_t>());
  batch.fields["targets"] = t;
  batch.valid = std::ranges::count_if(targets, [](std::int32_t id) { return id >= 0; });
  return batch;
}

}  // namespace tradewind::tests
