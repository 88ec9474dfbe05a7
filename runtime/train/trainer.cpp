#include "runtime/train/trainer.h"

#include <unistd.h>
#include <xxhash.h>

#include <algorithm>
#include <array>
#include <chrono>
#include <cmath>
#include <numeric>
#include <optional>
#include <vector>

#include "runtime/comm/odd_ones.h"
#include "runtime/core/environment.h"
#include "runtime/core/transfer.h"
#include "runtime/data/prefetch.h"
#include "runtime/parallel/shard.h"
#include "runtime/train/batch_stager.h"

namespace tradewind::runtime {
namespace {

double seconds_since(std::chrono::steady_clock::time_point start) {
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
}

}  // namespace

void TrainConfig::describe(Fields& f) {
  f.field("steps", steps, "Optimiser steps of the whole run.", {.min = 1});
  f.field("batch", batch, "Samples (blocks of the context's length) in one optimiser step, over all ranks.", {.min = 1});
  f.field("micro_batch", micro_batch,
          "Samples computed at once by a rank, to save memory; 0: all of its share. Results are the same to rounding, but for "
          "recommenders whose negatives are the micro-batch's (model.shared_negatives, model.negative_sampling = "
          "\"in_batch\"): there ranks agree where each one's share of batch is a multiple of it.",
          {.min = 0});
  f.field("clip", clip, "Gradients are scaled down to this global norm; 0: never.", {.min = 0});
  f.field(
      "zero", zero,
      "1: each rank keeps the optimiser's state of its share of the parameters alone (ZeRO stage 1); not of tables with sparse "
      "gradients.",
      {.min = 0, .max = 1});
  f.field("check_parameters_every", check_parameters_every,
          "Steps between comparisons of all ranks' parameters by hash; 0: only at the start.", {.min = 0});
  f.field("max_bad_steps", max_bad_steps, "Steps in a row whose gradient is not finite before the run gives up.", {.min = 1});
}

void EvaluateConfig::describe(Fields& f) {
  f.field("every", every, "Steps between evaluations on the validation part; 0: only at the end.", {.min = 0});
  f.field("batch", batch, "Samples evaluated at once; 0: as many as train.micro_batch or train.batch.", {.min = 0});
  f.field("batches", batches, "Batches of an evaluation during training; 0: the whole validation part.", {.min = 0});
  f.field("patience", patience, "Evaluations without a new best before training stops early; 0: never.", {.min = 0});
  f.field("cutoff", cutoff, "Recommenders: how many items a ranking shows, the k of ndcg@k and others.", {.min = 1});
  f.field("seen_items", seen_items, "Recommenders: whether items of a user's history are candidates.", {"leave_out", "keep"});
  f.field("best_by", best_by, "Recommenders: the metric that tells the best checkpoint, as in \"hr@10\"; \"\": ndcg@cutoff.");
  f.field(
      "candidates", candidates,
      "Recommenders: 0: a held-out item is ranked among all items; N: among N that are drawn for its user by run.seed, "
      "uniformly with replacement, of those outside the user's training part (with seen_items = \"keep\" of all). Such figures "
      "do not compare with those of full ranking.",
      {.min = 0, .max = 1'000'000});
  f.field("cold_items", cold_items, "Recommenders: evaluate --slice cold-items: an item with fewer training events is cold.",
          {.min = 1});
  f.field("short_history", short_history,
          "Recommenders: evaluate --slice history: a user with fewer events before has a short history.", {.min = 1});
}

void CheckpointConfig::describe(Fields& f) {
  f.field("every", every, "Steps between checkpoints; 0: only at the end and when the run is stopped.", {.min = 0});
  f.field("keep_last", keep_last, "How many of the newest checkpoints stay.", {.min = 1});
  f.field("keep_best", keep_best, "The checkpoint with the best evaluation stays as well.");
}

/// On a GPU the norm is asked for with the losses, so that the host waits once.
struct Trainer::Results {
  explicit Results(Context& context) : losses(context), squares(context) {}
  LossCounter losses;
  Readback squares;  // norms() float64, on a GPU
};

Trainer::Trainer(Context& context, Communicator& communicator, Task& task, const Dataset& train, const Validation* validation,
                 const TrainerConfig& config, CheckpointFolder checkpoints, TrainObserver& observer)
    : context_(context),
      communicator_(communicator),
      task_(task),
      train_(train),
      validation_(validation),
      config_(config),
      observer_(observer),
      optimizer_(config.optimizer, task.parameters(), context,
                 config.train.zero == 1 && communicator.size() > 1
                     ? std::optional(Shard::of(task.parameters(), communicator.rank(), communicator.size()))
                     : std::nullopt),
      writer_(std::move(checkpoints), config.checkpoint.keep_last, communicator.rank(), communicator.size()) {
  config_.schedule.check(config.train.steps);
  require(communicator.size() == 1 || context.device().type == DeviceType::kCpu, "Trainer", "several ranks train on CPUs");
  if (config.evaluate.patience > 0 && (validation == nullptr || config.evaluate.every == 0))
    throw ConfigError("evaluate.patience needs evaluations: set evaluate.every and a validation part");
}

void Trainer::save() {
  if (last_saved_ == step_) return;
  commit();
  observer_.on_phase(Phase::kSaving, 0, 0);
  writer_.begin(contents());
  last_saved_ = step_;
}

/// Ends the save under way; all ranks at the same step.
void Trainer::commit() {
  if (!writer_.pending()) return;
  writer_.commit(communicator_);
  observer_.on_checkpoint(last_saved_);
}

StepReport Trainer::train_step(StepBatch& batch, const std::function<void()>& meanwhile) {
  const auto start = std::chrono::steady_clock::now();
  auto& scalars = context_.step_state();
  auto& store = task_.parameters();
  Work work;
  for (const auto& micro : batch.micro) work += Work::of(micro);
  std::int64_t counts[] = {
      batch.valid, batch.tokens, batch.samples, writer_.local_done() ? 1 : 0, observer_.stop_requested() ? 1 : 0, work.rows,
      work.pairs,  work.targets, work.negatives};
  communicator_.all_reduce(counts, std::size(counts), DType::kInt64, ReduceOp::kSum, nullptr);
  work = {.rows = counts[5], .pairs = counts[6], .targets = counts[7], .negatives = counts[8]};
  stop_agreed_ = counts[4] > 0;
  if (counts[3] == communicator_.size()) commit();
  if (counts[0] == 0) throw DataError("training step " + std::to_string(step_ + 1) + ": no target of the step counts");

  scalars.step = step_ + 1;
  scalars.learning_rate =
      static_cast<float>(learning_rate(config_.schedule, config_.optimizer.learning_rate, step_ + 1, config_.train.steps));
  scalars.loss_scale[0] = static_cast<float>(1.0 / static_cast<double>(counts[0]));
  scalars.gradient_scale = 1.0F;
  context_.publish_step_state();
  store.begin_step();
  Results results(context_);
  for (auto& micro : batch.micro) {
    Tape tape(context_, true);
    results.losses.add(task_.forward(tape, micro));
    tape.backward();
    micro = Batch();  // its memory goes back before the next one
  }
  store.finish_gradients();
  if (context_.device().type == DeviceType::kCuda) {
    const Tensor squares = context_.tensor({static_cast<std::int64_t>(norms())}, DType::kFloat64);
    square_norms(squares.data<double>());
    results.squares.add(squares);
    meanwhile();
  }
  double loss = results.losses.sums().loss;
  // The loss, and which parameters any rank used: the others are neither updated nor decayed, on all ranks alike.
  std::vector<double> sums(store.parameters().size() + 1);
  sums[0] = loss;
  store.add_uses(sums.data() + 1);
  communicator_.all_reduce(sums.data(), static_cast<std::int64_t>(sums.size()), DType::kFloat64, ReduceOp::kSum, nullptr);
  loss = sums[0];
  store.take_uses(sums.data() + 1);
  reduce_gradients();

  StepReport report{.step = step_ + 1,
                    .steps = config_.train.steps,
                    .loss = loss / static_cast<double>(counts[0]),
                    .learning_rate = scalars.learning_rate,
                    .tokens = counts[1],
                    .samples = counts[2]};
  report.skipped = !update(report, results);
  ++step_;
  const std::int64_t every = config_.train.check_parameters_every;
  if (every > 0 && step_ % every == 0) check_parameters();
  report.memory_bytes = context_.device().type == DeviceType::kCuda ? context_.allocator().bytes_mapped() : resident_bytes();
  report.seconds = seconds_since(start);
  const double flops = 3 * task_.cost().forward_flops(work);
  if (config_.peak_flops > 0 && report.seconds > 0) report.mfu = flops / (report.seconds * config_.peak_flops);
  return report;
}

/// Sums the gradients over the ranks, bucket by bucket and table by table in the same order on all.
void Trainer::reduce_gradients() {
  if (communicator_.size() == 1) return;
  const auto& store = task_.parameters();
  float* const gradients = store.gradients().data<float>();
  const auto& parts = optimizer_.shard().parts();
  for (std::size_t b = 0; b < store.buckets().size(); ++b) {
    const Bucket& bucket = store.buckets()[b];
    if (sharded())
      communicator_.reduce_scatter_v(optimizer_.gradients().data<float>() + parts[b].at, gradients + bucket.begin,
                                     shares_of(bucket, communicator_.size()).data(), DType::kFloat32, ReduceOp::kSum, nullptr);
    else
      communicator_.all_reduce(gradients + bucket.begin, bucket.end - bucket.begin, DType::kFloat32, ReduceOp::kSum, nullptr);
  }
  for (const auto& p : store.parameters())
    if (p->sparse()) p->sparse_gradient().exchange(context_, communicator_);
}

/// Squared norms of the gradient: of all dense parameters, and of each table with a sparse one.
std::size_t Trainer::norms() const {
  return 1 + static_cast<std::size_t>(std::ranges::count_if(task_.parameters().parameters(), &Parameter::sparse));
}

/// squares [norms()] is where the context computes.
void Trainer::square_norms(double* squares) {
  const auto& store = task_.parameters();
  kernels::squared_norm(squares++, store.gradients().data<float>(), store.dense_elements(), context_.launch());
  for (const auto& p : store.parameters())
    if (p->sparse()) {
      const Tensor values = p->sparse_gradient().values();
      kernels::squared_norm(squares++, values.data<float>(), values.elements(), context_.launch());
    }
}

/// Of the whole gradient, the same bits on every rank: each sums the squares of its shard, and all add the ranks' sums in order
/// of rank, whether the optimiser is sharded or not.
double Trainer::gradient_norm(Results& results) {
  if (results.squares.size() > 0) {
    results.squares.wait();  // they came with the losses
    const auto squares = results.squares[0].span<double>();
    return std::sqrt(std::accumulate(squares.begin(), squares.end(), 0.0));
  }
  const int size = communicator_.size();
  const auto& gradients = optimizer_.gradients();
  if (size == 1) {
    std::vector<double> squares(norms());
    square_norms(squares.data());
    return std::sqrt(std::accumulate(squares.begin(), squares.end(), 0.0));
  }
  double squares = 0;
  const Shard own = Shard::of(task_.parameters(), communicator_.rank(), size);
  for (const Shard::Part& part : own.parts()) {
    double sum = 0;
    kernels::squared_norm(&sum, gradients.data<float>() + (sharded() ? part.at : part.range.begin),
                          part.range.end - part.range.begin, context_.launch());
    squares += sum;
  }
  std::vector<double> all(static_cast<std::size_t>(size));
  communicator_.all_gather(all.data(), &squares, 1, DType::kFloat64, nullptr);
  for (const auto& p : task_.parameters().parameters())  // of which every rank has all
    if (p->sparse()) {
      const Tensor values = p->sparse_gradient().values();
      kernels::squared_norm(&all.emplace_back(), values.data<float>(), values.elements(), context_.launch());
    }
  return std::sqrt(std::accumulate(all.begin(), all.end(), 0.0));
}

/// After a sharded update: every rank gets the others' parameters.
void Trainer::gather_parameters() {
  if (!sharded()) return;
  const auto& store = task_.parameters();
  for (const Bucket& bucket : store.buckets())
    communicator_.all_gather_v(store.values().data<float>() + bucket.begin, shares_of(bucket, communicator_.size()).data(),
                               DType::kFloat32, nullptr);
}

void Trainer::check_parameters() {
  const int size = communicator_.size();
  if (size == 1) return;
  const auto& values = task_.parameters().values();
  const std::uint64_t own = XXH3_64bits(values.data<float>(), static_cast<std::size_t>(values.elements()) * sizeof(float));
  std::vector<std::uint64_t> all(static_cast<std::size_t>(size));
  communicator_.all_gather(all.data(), &own, 1, DType::kUInt64, nullptr);
  const std::vector<int> odd = odd_ones(all);
  if (odd.empty()) return;
  constexpr std::int64_t kName = 64;
  std::array<char, kName> name{};
  gethostname(name.data(), kName - 1);
  std::vector<char> hosts(static_cast<std::size_t>(size * kName));
  communicator_.all_gather(hosts.data(), name.data(), kName, DType::kUInt8, nullptr);
  std::string ranks;
  for (const int r : odd) ranks += (ranks.empty() ? "" : ", ") + std::to_string(r) + " (" + (hosts.data() + r * kName) + ")";
  throw CommError(
      "step " + std::to_string(step_) + ": the parameters of rank " + ranks +
      " are not those of the others: a fault of memory, or of a library that ranks do not share. Check the machines "
      "and run the same command again; it goes on from the last checkpoint");
}

/// Clips and updates. False where the gradient is not finite: then nothing changes.
bool Trainer::update(StepReport& report, Results& results) {
  report.gradient_norm = gradient_norm(results);
  if (!std::isfinite(report.gradient_norm)) {
    observer_.on_warning("step " + std::to_string(report.step) + ": the gradient is not finite; the step is skipped");
    if (++bad_steps_ >= config_.train.max_bad_steps)
      throw DataError("training: " + std::to_string(bad_steps_) +
                      " steps in a row had a gradient that is not finite; lower optimizer.learning_rate, or set train.clip");
    return false;
  }
  bad_steps_ = 0;
  // As torch.nn.utils.clip_grad_norm_, which adds 1e-6 to the norm.
  const double clip = config_.train.clip;
  context_.step_state().gradient_scale =
      clip > 0 ? static_cast<float>(std::min(1.0, clip / (report.gradient_norm + 1e-6))) : 1.0F;
  context_.publish_step_state();
  optimizer_.update(context_);
  gather_parameters();
  return true;
}

/// The evaluation that is due. Asked to stop meanwhile, it stays due for the session after this one.
void Trainer::evaluate_now(TrainOutcome& outcome) {
  const auto& e = config_.evaluate;
  const std::int64_t micro = config_.train.micro_batch > 0 ? config_.train.micro_batch : config_.train.batch;
  const bool at_end = step_ >= config_.train.steps;
  Evaluation result;
  try {
    result = validation_->run(
        context_, task_,
        {.batch = e.batch > 0 ? e.batch : micro,
         .max_batches = at_end ? 0 : e.batches,
         .progress = [&](std::int64_t done, std::int64_t total) { observer_.on_phase(Phase::kEvaluating, done, total); },
         .stop = [&] { return observer_.stop_requested(); },
         .communicator = &communicator_});
  } catch (const EvaluationStopped&) {
    outcome.reason = TrainOutcome::Reason::kStopped;
    return;
  }
  evaluation_due_ = false;
  const bool best = best_step_ == 0 || result.better_than(best_value_);
  evaluations_without_gain_ = best ? 0 : evaluations_without_gain_ + 1;
  if (best) {
    best_value_ = result.best_value();
    best_step_ = step_;
  }
  outcome.last_evaluation = result;
  observer_.on_evaluation(step_, result, best);
  if (best && config_.checkpoint.keep_best) {
    save();
    writer_.pin(step_);
  }
  if (e.patience > 0 && evaluations_without_gain_ >= e.patience) outcome.reason = TrainOutcome::Reason::kEarlyStopped;
}

TrainOutcome Trainer::run() {
  TrainOutcome outcome;
  const auto& c = config_;
  if (evaluation_due_) {
    last_saved_ = -1;  // what it finds belongs into the checkpoint of this step
    evaluate_now(outcome);
  }
  if (outcome.reason == TrainOutcome::Reason::kFinished) {
    StepPrefetcher prefetcher(train_, c.train.batch, c.train.micro_batch, c.seed, communicator_.rank(), communicator_.size(),
                              static_cast<std::uint64_t>(step_ * c.train.batch), c.shuffle);
    BatchStager stager(context_);
    std::optional<StepBatch> next;  // on its way to the device
    while (step_ < c.train.steps) {
      // Ranks hear of a signal at different times; they stop behind the step that all of them entered.
      if (communicator_.size() == 1 ? observer_.stop_requested() : stop_agreed_) {
        outcome.reason = TrainOutcome::Reason::kStopped;
        break;
      }
      const auto start = std::chrono::steady_clock::now();
      StepBatch batch = next ? std::move(*next) : stager.stage(prefetcher.next());
      next.reset();
      stager.begin();
      StepReport report = train_step(batch, [&] {
        if (step_ + 1 < c.train.steps) next = stager.stage(prefetcher.next());
      });
      seconds_ += seconds_since(start);
      last_loss_ = report.loss;
      report.total_seconds = seconds_;
      observer_.on_step(report);
      const bool due = c.evaluate.every > 0 && step_ % c.evaluate.every == 0;
      evaluation_due_ = validation_ != nullptr && (due || step_ == c.train.steps);
      if (evaluation_due_) evaluate_now(outcome);
      if (outcome.reason != TrainOutcome::Reason::kFinished) break;
      if (c.checkpoint.every > 0 && step_ % c.checkpoint.every == 0) save();
    }
  }
  save();
  commit();
  outcome.step = step_;
  outcome.last_loss = last_loss_;
  outcome.best_value = best_value_;
  outcome.best_step = best_step_;
  return outcome;
}

}  // namespace tradewind::runtime
