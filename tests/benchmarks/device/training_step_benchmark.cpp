// Training steps of GPT-2 124M on the GPU at hand, as `tradewind train` makes them: the recipe's model, batch and optimiser, by
// the trainer itself, in bfloat16 with float32 master. Only the text is missing: tokens are made up.
//
//   training_step_benchmark [PEER]      from the repository's root; PEER: what peer.py printed
//
// Each row is the median of 8 steps after 2 to warm up; a step is the whole of it, waiting for the prefetched batch and
// clipping by the norm of the gradient included. Without a GPU: says so, exit code 5.
//
// FLOPs of a step, as the trainer counts them (Transformer::forward_flops, Gpt::cost), T tokens a sequence, C channels, L
// layers, V rows of the token table: 3 x (L (24 C^2 T + 2 C T (T + 1)) + 2 V C T) a sequence. Backward costs twice the forward
// pass; causal attention counts for the half that is computed; recomputation, norms and the optimiser count for nothing. MFU is
// that over time and the data sheet's dense bf16 rate. Chowdhery et al. 2022, appendix B, count attention in full: 1.07 times
// as much here.
#include <algorithm>
#include <chrono>
#include <cstdio>
#include <exception>
#include <filesystem>
#include <map>
#include <string>
#include <vector>

#include "kernels/base/device_runtime.h"
#include "kernels/base/error.h"
#include "launcher/run_config.h"
#include "models/language/generate.h"
#include "models/language/gpt.h"
#include "runtime/core/roofline.h"
#include "tests/benchmarks/device/roofline.h"

namespace tradewind::benchmarks {
namespace {

constexpr const char* kRecipe = "configs/language/gpt2-124m.toml";

/// Blocks of tokens that depend on their place by a hash: every row of the token table is used.
class MadeUpText final : public runtime::Dataset {
 public:
  MadeUpText(std::int64_t context, std::int64_t vocabulary) : context_(context), vocabulary_(vocabulary) {}
  std::int64_t samples_per_epoch() const override { return 100'000; }
  std::uint64_t checksum() const override { return 1; }
  runtime::Batch collate(std::span<const runtime::SampleRef> samples) const override {
    std::vector<std::vector<std::int32_t>> rows;
    std::vector<std::int32_t> targets;
    for (const auto& sample : samples) {
      const auto token = [&](std::int64_t t) {
        const auto place = static_cast<std::uint64_t>(sample.index * (context_ + 1) + t);
        return static_cast<std::int32_t>((place * 0x9E3779B97F4A7C15ULL >> 32) % static_cast<std::uint64_t>(vocabulary_));
      };
      rows.emplace_back();
      for (std::int64_t t = 0; t < context_; ++t) {
        rows.back().push_back(token(t));
        targets.push_back(token(t + 1));
      }
    }
    runtime::Batch batch = models::token_rows(rows, std::vector<std::int64_t>(rows.size(), 0));
    const runtime::Tensor t(runtime::host_allocator(), {batch.tokens}, kernels::DType::kInt32);
    std::ranges::copy(targets, t.data<std::int32_t>());
    batch.fields["targets"] = t;
    batch.valid = batch.tokens;
    return batch;
  }

 private:
  std::int64_t context_, vocabulary_;
};

/// Thrown when enough steps were seen: a run that ends writes a checkpoint, which is not what is measured here.
struct Enough {};

class Watch final : public runtime::TrainObserver {
 public:
  static constexpr std::size_t kWarmUp = 2, kSteps = 8;
  void on_step(const runtime::StepReport& report) override {
    const double now = report.total_seconds;
    if (report.skipped) throw DataError("the gradient of step " + std::to_string(report.step) + " is not finite");
    seconds_.push_back(now - last_);
    last_ = now;
    if (seconds_.size() == kWarmUp + kSteps) throw Enough{};
  }
  double median() {
    std::vector<double> timed(seconds_.begin() + kWarmUp, seconds_.end());
    std::ranges::nth_element(timed, timed.begin() + kSteps / 2);
    return timed[kSteps / 2];
  }

 private:
  double last_ = 0;
  std::vector<double> seconds_{};
};

/// One row of the table. Named as peer.py names its step.
void measure(const std::vector<std::string>& overrides, const Roofline& roofline, const std::map<std::string, double>& peer) {
  std::vector<std::string> all = {"device=cuda", "precision=bfloat16", "data.path=none", "evaluate.every=0",
                                  "checkpoint.every=0"};
  all.insert(all.end(), overrides.begin(), overrides.end());
  launcher::RunConfig config = launcher::read_run_config(kRecipe, all, models::builtin_registry());
  std::vector<std::string> notes;
  const auto context = launcher::make_context(config, notes);
  const auto* gpt = dynamic_cast<const models::GptConfig*>(config.model.get());
  if (gpt == nullptr) throw ConfigError(std::string(kRecipe) + ": the model is no GPT");
  const auto task = config.model->build({.vocabulary = gpt->vocabulary});
  task->parameters().allocate(*context);
  const MadeUpText text(gpt->context_length, 50257);
  const auto communicator = runtime::make_single_communicator();
  Watch watch;
  runtime::Trainer trainer(*context, *communicator, *task, text, nullptr, config.trainer_config(),
                           runtime::CheckpointFolder("build/device/never-written"), watch);
  try {
    trainer.run();
  } catch (const Enough&) {
  }
  const double seconds = watch.median(),
               flops = 3 * task->cost().forward_flops_per_sample() * static_cast<double>(config.train.batch);
  const double tokens = static_cast<double>(config.train.batch * gpt->context_length);
  const std::string name =
      "gpt2-124m step V" + std::to_string(gpt->vocabulary) + " micro_batch " + std::to_string(config.train.micro_batch);
  std::printf("| %s | %.1f | %.0f | %.0f |", name.c_str(), 1e3 * seconds, tokens / seconds, flops / seconds / 1e12);
  if (roofline.tflops > 0)
    std::printf(" %.1f %% |", 100 * flops / seconds / 1e12 / roofline.tflops);
  else
    std::printf(" |");
  std::printf(" %.1f |", static_cast<double>(context->allocator().bytes_mapped()) / (1 << 30));
  const auto found = peer.find(name);
  if (found != peer.end())
    std::printf(" %.1f | %.2f |\n", found->second, found->second / 1e3 / seconds);
  else
    std::printf(" | |\n");
  std::fflush(stdout);
}

void benchmark(const std::string& peer_file) {
  const auto facts = kernels::cuda_runtime().facts(0);
  const Roofline roofline = roofline_of(facts.name);
  std::printf("%s, compute capability %d.%d", facts.name.c_str(), facts.major, facts.minor);
  if (roofline.tflops > 0)
    std::printf("; MFU is of %.0f TFLOP/s, dense bf16 by the data sheet", roofline.tflops);
  else
    std::printf("; its data sheet is not known here, so no MFU");
  {
    runtime::Context context({.type = kernels::DeviceType::kCuda}, 0, 1, kernels::DType::kBFloat16);
    std::printf("; a product of 8192 x 8192 x 8192 reaches %.0f TFLOP/s", runtime::measured_product_rate(context) / 1e12);
  }
  std::printf(
      "\n\n| case | ms | tokens/s | TFLOP/s | MFU | GiB of the GPU | PyTorch, ms | ratio "
      "|\n|---|---|---|---|---|---|---|---|\n");
  const auto peer = peer_times(peer_file);
  // The recipe's micro-batch and larger ones, which GPUs of 80 GB and more have room for; and the token table with rows up to a
  // multiple of 128, whose products tensor cores like better.
  int measured = 0;
  for (const char* rows : {"model.vocabulary=50257", "model.vocabulary=50304"})
    for (const int micro : {4, 16, 32}) {
      try {
        measure({rows, "train.micro_batch=" + std::to_string(micro)}, roofline, peer);
        ++measured;
      } catch (const DeviceError& error) {  // a small GPU: say which, and go on with what fits
        std::fprintf(stderr, "training_step_benchmark: %s, micro_batch %d: %s\n", rows, micro, error.what());
      }
    }
  if (measured == 0) throw DeviceError("none of the cases ran; nothing was measured");
}

}  // namespace
}  // namespace tradewind::benchmarks

int main(int argc, char** argv) {
  using namespace tradewind;
  const std::string missing = kernels::why_no_cuda();
  if (!missing.empty()) {
    std::fprintf(stderr, "training_step_benchmark: %s; nothing was measured\n", missing.c_str());
    return static_cast<int>(ExitCode::kDevice);
  }
  try {
    if (!std::filesystem::exists(benchmarks::kRecipe))
      throw ConfigError(std::string(benchmarks::kRecipe) + " is not here: start this from the repository's root");
    benchmarks::benchmark(argc > 1 ? argv[1] : "");
  } catch (const Error& error) {
    std::fprintf(stderr, "training_step_benchmark: %s\n", error.what());
    return static_cast<int>(error.code());
  } catch (const std::exception& error) {
    std::fprintf(stderr, "training_step_benchmark: %s\n", error.what());
    return static_cast<int>(ExitCode::kInternal);
  }
}
