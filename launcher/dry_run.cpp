#include "launcher/dry_run.h"

#include <fmt/format.h>
#include <langinfo.h>
#include <unistd.h>

#include <algorithm>
#include <clocale>
#include <cstdio>
#include <functional>
#include <nlohmann/json.hpp>
#include <optional>
#include <sstream>

#include "kernels/base/device_runtime.h"
#include "kernels/base/isa.h"
#include "kernels/candidate_loss.h"
#include "kernels/linear_cross_entropy.h"
#include "launcher/output.h"
#include "launcher/run_data.h"
#include "launcher/session.h"
#include "runtime/comm/mpi.h"
#include "runtime/config/config.h"
#include "runtime/core/environment.h"
#include "runtime/core/terminal.h"
#include "runtime/train/fitting.h"

namespace tradewind::launcher {

namespace fs = std::filesystem;

namespace {

std::string number(double x) {
  const char* const units[] = {"", " k", " M", " G", " T", " P", " E"};
  int unit = 0;
  while (x >= 1000 && unit < 6) {
    x /= 1000;
    ++unit;
  }
  char text[32];
  std::snprintf(text, sizeof text, unit == 0 ? "%.0f%s" : "%.2f%s", x, units[unit]);
  return text;
}

std::string mebibytes(double bytes) {
  char text[32];
  std::snprintf(text, sizeof text, "%.1f MiB", bytes / (1 << 20));
  return text;
}

/// Runs the checks and prints them, each as it is done; as JSON all together.
class Checklist {
 public:
  explicit Checklist(bool json) : json_(json) {
    std::setlocale(LC_CTYPE, "");
    const bool utf8 = std::string(nl_langinfo(CODESET)) == "UTF-8";
    tick_ = utf8 ? "\u2713" : "ok";
    cross_ = utf8 ? "\u2717" : "FAILED";
  }

  /// `check` returns what it found. False where it threw.
  bool run(const char* name, const std::function<std::string()>& check) {
    try {
      add(tick_, "good", name, check());
      return true;
    } catch (const Error& e) {
      add(cross_, "failed", name, e.what());
      if (code_ == 0) code_ = static_cast<int>(e.code());
    }
    return false;
  }
  void skip(const char* name, const char* why) { add(cross_, "not tried", name, std::string("not tried: ") + why); }
  /// The exit code.
  int finish() const {
    if (json_) print_json(nlohmann::ordered_json{{"good", code_ == 0}, {"exit_code", code_}, {"checks", checks_}});
    return code_;
  }

 private:
  void add(const char* mark, const char* state, const char* name, const std::string& text) {
    checks_.push_back({{"name", name}, {"state", state}, {"found", text}});
    if (json_) return;
    const std::string head = fmt::format("{}. {} {:<10} ", checks_.size(), mark, name);
    const std::size_t columns = head.size() - (static_cast<unsigned char>(*mark) < 0x80 ? 0 : 2);  // a tick has three bytes
    std::string body;
    std::istringstream lines(text);
    for (std::string line; std::getline(lines, line);) body += runtime::wrap_text(line, std::string(columns, ' '));
    std::printf("%s%s", head.c_str(), body.empty() ? "\n" : body.c_str() + columns);
  }
  bool json_;
  const char *tick_, *cross_;
  nlohmann::ordered_json checks_ = nlohmann::ordered_json::array();
  int code_ = 0;
};

struct Plan {
  RunConfig config;
  std::optional<RunData> data;
  std::unique_ptr<runtime::Task> task;

  /// Null where the model is stepped.
  const runtime::Fitted* fitted() const { return dynamic_cast<const runtime::Fitted*>(task.get()); }
  double parameters() const { return static_cast<double>(task->parameters().parameter_count()); }
  int ranks = 1;
  std::int64_t share() const { return (config.train.batch + ranks - 1) / ranks; }  // of a step's samples, on the busiest rank
  std::int64_t micro_batch() const {
    return config.train.micro_batch > 0 ? std::min(config.train.micro_batch, share()) : share();
  }
  /// What the optimiser keeps, in floats: of dense parameters, and of tables with sparse gradients.
  double states(bool sparse) const {
    double out = 0;
    for (const auto& p : task->parameters().parameters())
      if (p->sparse() == sparse) out += static_cast<double>(config.optimizer.state_elements(*p));
    return out;
  }
  double dense_parameters() const {
    double out = 0;
    for (const auto& p : task->parameters().parameters())
      if (!p->sparse()) out += static_cast<double>(p->shape().elements());
    return out;
  }
  /// What a checkpoint holds.
  double state_bytes() const {
    return fitted() != nullptr ? static_cast<double>(fitted()->most_bytes())
                               : 4 * (parameters() + states(false) + states(true));
  }
};

/// What a run holds, in bytes.
struct Memory {
  double held = 0;         // by the program and its data, of which free memory lacks most by now
  double fixed = 0;        // parameters, gradients, optimiser
  double activations = 0;  // of a micro-batch
  double softmax = 0;      // logits of the loss
  double candidates = 0;   // what a loss of drawn items gathers and sorts
  double copy = 0;         // of what a checkpoint holds, until it is written
  double added() const { return fixed + activations + softmax + candidates + copy; }
};

/// Of tables with sparse gradients: the rows of a step's micro-batches, for each those of the loss and those of the lookups,
/// beside each other and then together.
double sparse_gradient_bytes(const Plan& plan, const runtime::CandidateSizes& loss, std::int64_t lookups, std::int64_t scored) {
  std::int64_t rows = 0;
  for (const auto& p : plan.task->parameters().parameters())
    if (p->sparse()) rows = std::max(rows, p->shape()[0]);
  if (rows == 0) return 0;
  const std::int64_t micro_batches = (plan.share() + plan.micro_batch() - 1) / plan.micro_batch();
  const std::int64_t each = std::min(scored, rows) + std::min(lookups, rows),
                     gathered = std::min(micro_batches * each, rows + each);
  return 4 * static_cast<double>((loss.channels + 1) * (2 * gathered + std::min(gathered, rows)));
}

double candidate_loss_bytes(const runtime::CandidateSizes& loss, std::int64_t targets, bool cuda, int threads) {
  return static_cast<double>(
      kernels::candidate_loss_workspace({.N = targets, .V = loss.rows, .C = loss.channels, .n = loss.beside(targets)},
                                        {.shared_negatives = loss.shared || loss.in_batch},
                                        cuda ? kernels::DeviceType::kCuda : kernels::DeviceType::kCpu, threads));
}

Memory memory_of(const Plan& plan, bool cuda) {
  const RunConfig& c = plan.config;
  const auto block = [&](double floats) {
    return cuda ? 4 * floats : static_cast<double>(runtime::cpu_block_bytes(static_cast<std::size_t>(4 * floats)));
  };
  const double dense = plan.dense_parameters(), states = plan.states(false);
  const bool shared = c.train.zero == 1 && plan.ranks > 1;  // ZeRO: of dense parameters the states and reduced gradients
  const double share = shared ? plan.ranks : 1, moments = states > dense ? 2 : 1;
  const bool half = cuda && c.precision != "float32";
  const runtime::CostEstimate cost = plan.task->cost();
  const runtime::Work work = cost.work(plan.micro_batch());
  const int threads = make_host_context(c)->threads();
  constexpr double kPieces = 1.5;  // of many, each in a block of the allocator's sizes
  constexpr double kSteps = 3;     // whose batches are there: the one at work, and two ahead of it
  Memory out;
  out.fixed = block(plan.parameters()) + block(dense) + moments * block(states / moments / share) + block(plan.states(true)) +
              (shared ? block(dense / share) : 0) + (half ? plan.parameters() * 2 : 0);  // copies in bfloat16
  out.activations = static_cast<double>(cost.activation_bytes(plan.micro_batch())) / (half ? 2 : 1);
  if (const runtime::CandidateSizes& loss = cost.candidates; loss.rows > 0) {
    out.candidates = (cuda ? 1 : kPieces) * candidate_loss_bytes(loss, work.targets, cuda, threads);
    const bool set = loss.shared || loss.in_batch;
    const std::int64_t beside = set ? loss.beside(work.targets) : work.negatives;
    if (!set)
      out.candidates +=
          4 * (cuda ? 1 : kSteps) * static_cast<double>(cost.work(cuda ? plan.micro_batch() : plan.share()).negatives);
    out.fixed += (cuda ? 1 : kPieces) * sparse_gradient_bytes(plan, loss, work.rows, work.targets + beside);
  }
  if (const runtime::SoftmaxSizes& softmax = cost.softmax; softmax.classes > 0)
    out.softmax = block(static_cast<double>(kernels::linear_cross_entropy_workspace(
                            work.targets, softmax.classes, softmax.channels,
                            cuda ? kernels::DeviceType::kCuda : kernels::DeviceType::kCpu, threads)) /
                        4);
  if (cuda) return out;  // the rest is on the host
  // What comes with training: threads, the products' code and packed operands, small blocks, batches. 43 to 56 MiB were
  // measured with two threads.
  constexpr double kMebibyte = 1 << 20;
  out.held = static_cast<double>(runtime::resident_bytes()) + (48 + 8 * threads) * kMebibyte;
  out.copy = block(plan.state_bytes() / 4 / plan.ranks);
  return out;
}

double free_memory() { return static_cast<double>(sysconf(_SC_AVPHYS_PAGES)) * static_cast<double>(sysconf(_SC_PAGESIZE)); }

/// What is learned, beside the events, which are read by now.
std::string check_fitted_memory(const runtime::Fitted& model) {
  const auto bytes = static_cast<double>(model.most_bytes());
  if (bytes > free_memory())
    throw DeviceError("as much as " + mebibytes(bytes) + " may be learned, and only " + mebibytes(free_memory()) +
                      " are free: give the model less to keep (see tradewind config schema model)");
  return "at most " + mebibytes(bytes) + " beside the events";
}

std::string check_memory(const Plan& plan) {
  if (const auto* const fitted = plan.fitted()) return check_fitted_memory(*fitted);
  const bool cuda = plan.ranks == 1 && plan.config.device != "cpu" && kernels::why_no_cuda().empty();
  const Memory memory = memory_of(plan, cuda);
  const double available = cuda ? static_cast<double>(kernels::cuda_runtime().memory().free) : free_memory();
  std::string found = "about " + mebibytes(memory.held + memory.added()) + ": ";
  if (!cuda) found += mebibytes(memory.held) + " program and data; ";
  found += mebibytes(memory.fixed) + " parameters, gradients, optimiser; " + mebibytes(memory.activations) + " activations";
  if (memory.softmax > 0) found += "; " + mebibytes(memory.softmax) + " logits of the loss, a chunk at a time";
  if (memory.candidates > 0) found += "; " + mebibytes(memory.candidates) + " workspace of the loss";
  if (!cuda) found += "; " + mebibytes(memory.copy) + " copy of a checkpoint while it is written";
  if (plan.ranks > 1) found += "; each rank";
  if (cuda) found += "; on the GPU";
  if (memory.added() > available)
    throw DeviceError(found + "; only " + mebibytes(available) + " are free: lower train.micro_batch");
  return found;
}

std::string check_disk(const Plan& plan) {
  const auto copies = static_cast<double>(plan.config.checkpoint.keep_last + (plan.config.checkpoint.keep_best ? 1 : 0) + 1);
  const double bytes = plan.state_bytes() * copies;
  fs::path at = fs::absolute(plan.config.run.directory);
  while (!fs::exists(at)) at = at.parent_path();
  if (access(at.c_str(), W_OK) != 0) throw ConfigError(at.string() + " cannot be written to; choose another run.directory");
  const auto free = static_cast<double>(fs::space(at).available);
  std::string found = mebibytes(bytes) + " for checkpoints in " + plan.config.run.directory + ", " + mebibytes(free) + " free";
  if (bytes > free) throw CheckpointError(found + "; free some space or choose another run.directory");
  return found;
}

}  // namespace

int dry_run(const fs::path& file, const std::vector<std::string>& overrides, const models::Registry& registry, bool json) {
  const auto [rank, world] = runtime::launched_rank();
  const int ranks = world;  // lambdas cannot take the binding
  if (rank != 0) return 0;  // rank 0 speaks for all
  Checklist list(json);
  Plan plan;
  plan.ranks = ranks;
  const bool configured = list.run("config", [&] {
    plan.config = read_run_config(file, overrides, registry);
    return file.string() + ", model " + plan.config.model_name;
  });
  if (!configured) {
    for (const char* name : {"data", "parameters", "FLOPs", "memory", "disk", "threads"}) list.skip(name, "no config");
    return list.finish();
  }
  auto& c = plan.config;
  list.run("data", [&] {
    const auto origin = open_origin(c);
    plan.data = load_run_data(c, origin ? &*origin : nullptr, ItemTable::kRead);
    return plan.data->found;
  });
  const bool built = list.run("parameters", [&] {
    const bool bytes = c.model->data_kind() == models::DataKind::kText && c.data.tokenizer == "byte";
    if (!plan.data && !bytes) throw DataError("the vocabulary is not known without the data");
    plan.task = c.model->build(plan.data ? plan.data->inputs : models::ModelInputs{.vocabulary = 257});
    if (const auto* const fitted = plan.fitted())
      return "none that are stepped; at most " + mebibytes(static_cast<double>(fitted->most_bytes())) +
             " are learned in one pass over the events";
    c.optimizer.check(plan.task->parameters());
    return number(plan.parameters()) + " (" + mebibytes(plan.parameters() * 4) + " in float32)";
  });
  if (built && plan.fitted() != nullptr) {
    list.run("memory", [&] { return check_memory(plan); });
    list.run("disk", [&] { return check_disk(plan); });
  } else if (built) {
    list.run("FLOPs", [&] {
      const double step =
          3 * plan.task->cost().forward_flops_per_sample(plan.micro_batch()) * static_cast<double>(c.train.batch);
      return number(step) + "FLOP a step, " + number(step * static_cast<double>(c.train.steps)) + "FLOP in " +
             std::to_string(c.train.steps) + " steps";
    });
    list.run("memory", [&] { return check_memory(plan); });
    list.run("disk", [&] { return check_disk(plan); });
  } else {
    for (const char* name : {"FLOPs", "memory", "disk"}) list.skip(name, "no model");
  }
  if (ranks > 1 && !(built && plan.fitted() != nullptr))
    list.run("ranks", [&] {
      if (c.train.batch < ranks)
        throw ConfigError("train.batch = " + std::to_string(c.train.batch) + " leaves some of " + std::to_string(ranks) +
                          " ranks without a sample");
      return std::to_string(ranks) + ", each up to " + std::to_string(plan.share()) + " of a step's " +
             std::to_string(c.train.batch) + " samples";
    });
  list.run("threads", [&] {
    std::vector<std::string> notes;
    const auto context = make_context(c, notes, ranks);
    std::string found = std::to_string(context->threads()) + " of " + std::to_string(runtime::available_cores()) + " cores, " +
                        kernels::active_isa();
    for (const auto& note : notes) found += "; " + note;
    return found;
  });
  return list.finish();
}

}  // namespace tradewind::launcher
