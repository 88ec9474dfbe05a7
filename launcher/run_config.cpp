#include "launcher/run_config.h"

#include "kernels/base/device_runtime.h"
#include "kernels/base/isa.h"

namespace tradewind::launcher {
namespace {

/// [model]: `name` and the chosen model's own keys.
struct ModelSection {
  std::string& name;
  models::ModelConfig& model;
  void describe(runtime::Fields& f) {
    f.field("name", name, "Which model; its other keys depend on it.");
    model.describe(f);
  }
};

}  // namespace

void RunSection::describe(runtime::Fields& f) {
  f.field("directory", directory, "Where config, log, metrics and checkpoints go; \"\": runs/<name of the recipe>.");
  f.field("from", from,
          "A run whose newest checkpoint gives the first parameters and the tokenizer (fine-tuning); \"\": random ones.");
  f.field("seed", seed, "Of initial weights, data order, dropout.", {.min = 0});
  f.field("tensorboard", tensorboard, "Whether the run directory gets an event file that TensorBoard shows.");
}

void RuntimeSection::describe(runtime::Fields& f) {
  f.field("threads", threads, "CPU threads; 0: the cores that the process is bound to.", {.min = 0, .max = 4096});
  f.field("isa", isa, "Most advanced instruction set to use; the same one gives the same bits.", {"auto", "avx2", "avx512"});
}

void RunConfig::describe(runtime::Fields& f) {
  f.field(
      "device", device,
      "What computes; auto: a GPU where build and machine have one, for one process. Not yet tried on a GPU: its kernels and "
      "the training with them were run on an executor of CUDA's model alone.",
      {"auto", "cpu", "cuda"});
  f.field("precision", precision,
          "Of activations and products; parameters, gradients and sums are float32. auto: bfloat16 on a GPU, float32 on a CPU, "
          "which has nothing else.",
          {"auto", "float32", "bfloat16"});
  f.section("run", run, "The run as a whole.");
  if (model->data_kind() == models::DataKind::kText)
    f.section("data", data, "What it learns from.");
  else
    f.section("data", interactions, "What it learns from: users' events with items.");
  ModelSection section{.name = model_name, .model = *model};
  f.section("model", section, "What is trained.");
  if (!model->fitted()) {
    f.section("train", train, "The loop.");
    f.section("optimizer", optimizer, "How parameters change.");
    f.section("schedule", schedule, "The learning rate over the run.");
  }
  f.section("evaluate", evaluate, "Looking at the validation part.");
  f.section("checkpoint", checkpoint, "Saving.");
  f.section("runtime", runtime, "The machine.");
  f.section("cluster", cluster, "Several ranks.");
}

runtime::TrainerConfig RunConfig::trainer_config() const {
  return {.train = train,
          .optimizer = optimizer,
          .schedule = schedule,
          .evaluate = evaluate,
          .checkpoint = checkpoint,
          .seed = static_cast<std::uint64_t>(run.seed),
          .shuffle = model->data_kind() == models::DataKind::kText ? data.shuffle : interactions.shuffle,
          .peak_flops = 0,
          .extra = {},
          .tensors = {}};
}

std::int64_t RunConfig::evaluation_batch() const {
  if (evaluate.batch > 0) return evaluate.batch;
  if (model->fitted()) return 256;
  return train.micro_batch > 0 ? train.micro_batch : train.batch;
}

std::string RunConfig::text() {
  return runtime::write_config([this](runtime::Fields& f) { describe(f); });
}

RunConfig default_run_config(const std::string& model, const models::Registry& registry) {
  RunConfig config;
  config.model_name = model;
  config.model = registry.find(model).config();
  return config;
}

RunConfig read_run_config(const std::filesystem::path& file, const std::vector<std::string>& overrides,
                          const models::Registry& registry) {
  const auto document = runtime::ConfigDocument::read(file, overrides);
  RunConfig config = default_run_config(document.string_or("model.name", "gpt"), registry);
  document.fill([&](runtime::Fields& f) { config.describe(f); });
  if (config.run.directory.empty()) config.run.directory = "runs/" + file.stem().string();
  config.model->check();
  if (config.model->reads_times() && config.interactions.time_key.empty())
    throw ConfigError(
        "model.times = true: the model reads when events were. Set data.time_key to their column, or model.times = false");
  if (!config.model->reads_attributes() && !config.interactions.items.empty())
    throw ConfigError(
        "data.items = \"" + config.interactions.items + "\": model.name = \"" + config.model_name +
        "\" knows items by their ids alone. Leave data.items and its columns empty, or set model.name = \"two_tower\"");
  if (config.model->fitted() && !config.run.from.empty())
    throw ConfigError("run.from: model.name = \"" + config.model_name +
                      "\" learns all that it knows in one pass over its data; leave run.from out");
  config.schedule.check(config.train.steps);
  return config;
}

namespace {

/// "cpu" or "cuda". Several ranks train on CPUs: their gradients would go through NCCL, which this version has not.
std::string device_of(const RunConfig& config, int ranks, std::vector<std::string>& notes) {
  const std::string why = kernels::why_no_cuda();
  if (config.device == "cuda") {
    if (!why.empty()) throw DeviceError("device = \"cuda\": " + why);
    if (ranks > 1)
      throw DeviceError(
          "device = \"cuda\": this version trains on a GPU in one process; start it without mpirun or srun, or set "
          "device = \"cpu\"");
    return "cuda";
  }
  if (config.device == "cpu") return "cpu";
  if (ranks > 1) {
    notes.emplace_back("device auto: cpu (several ranks)");
    return "cpu";
  }
  if (!why.empty()) {
    notes.emplace_back("device auto: cpu (" + why.substr(0, why.find(';')) + ")");
    return "cpu";
  }
  notes.emplace_back("device auto: cuda");
  return "cuda";
}

kernels::DType precision_of(const RunConfig& config, const std::string& device, std::vector<std::string>& notes) {
  if (device == "cuda") {
    if (config.precision == "float32") return kernels::DType::kFloat32;
    if (config.precision == "auto")
      notes.emplace_back("precision auto: bfloat16 (activations and products; parameters, gradients and sums are float32)");
    return kernels::DType::kBFloat16;
  }
  if (config.precision == "bfloat16")
    throw DeviceError(
        std::string("precision = \"bfloat16\": ") +
        (kernels::has_native_bfloat16() ? "the CPU kernels compute in float32" : "this CPU has no bfloat16 matrix products") +
        "; set precision = \"float32\" or \"auto\"");
  if (config.precision == "auto") notes.emplace_back("precision auto: float32 (what the CPU kernels compute in)");
  return kernels::DType::kFloat32;
}

}  // namespace

std::unique_ptr<runtime::Context> make_context(const RunConfig& config, std::vector<std::string>& notes, int ranks) {
  const std::string device = device_of(config, ranks, notes);
  kernels::set_isa(config.runtime.isa);
  const kernels::DType precision = precision_of(config, device, notes);
  auto context = std::make_unique<runtime::Context>(
      runtime::Device{.type = device == "cuda" ? runtime::DeviceType::kCuda : runtime::DeviceType::kCpu},
      static_cast<int>(config.runtime.threads), static_cast<std::uint64_t>(config.run.seed), precision);
  if (device == "cuda") notes.push_back("GPU: " + kernels::cuda_runtime().facts(context->device().index).name);
  if (context->threads() > runtime::available_cores())
    notes.push_back("warning: runtime.threads = " + std::to_string(context->threads()) + " on " +
                    std::to_string(runtime::available_cores()) +
                    " cores that this process is bound to; they will wait for each other");
  return context;
}

std::unique_ptr<runtime::Context> make_host_context(const RunConfig& config) {
  kernels::set_isa(config.runtime.isa);
  return std::make_unique<runtime::Context>(runtime::Device{}, static_cast<int>(config.runtime.threads),
                                            static_cast<std::uint64_t>(config.run.seed));
}

}  // namespace tradewind::launcher
