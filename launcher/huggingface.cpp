#include "launcher/huggingface.h"

#include <fmt/format.h>

#include <algorithm>

#include "runtime/checkpoint/huggingface.h"
#include "runtime/core/environment.h"
#include "runtime/text/huggingface_files.h"
#include "runtime/train/run_directory.h"

namespace tradewind::launcher {

namespace fs = std::filesystem;
using models::HuggingFaceForm;
using models::HuggingFaceTensor;
using runtime::Tensor;

namespace {

std::int64_t elements_of(const std::vector<std::int64_t>& shape) {
  std::int64_t out = 1;
  for (const std::int64_t n : shape) out *= n;
  return out;
}

std::string shape_text(const std::vector<std::int64_t>& shape) { return fmt::format("[{}]", fmt::join(shape, ", ")); }

/// to [columns, rows] = from [rows, columns], in tiles that stay in the cache.
void transpose(float* to, const float* from, std::int64_t rows, std::int64_t columns) {
  constexpr std::int64_t kTile = 32;
  for (std::int64_t r0 = 0; r0 < rows; r0 += kTile)
    for (std::int64_t c0 = 0; c0 < columns; c0 += kTile)
      for (std::int64_t r = r0; r < std::min(rows, r0 + kTile); ++r)
        for (std::int64_t c = c0; c < std::min(columns, c0 + kTile); ++c) to[c * rows + r] = from[r * columns + c];
}

const runtime::Parameter* find(const runtime::ParameterStore& store, const std::string& name) {
  for (const auto& p : store.parameters())
    if (p->name() == name) return p.get();
  return nullptr;
}

/// The name of `tensor` in the files: with the prefix, or without it. "" where it is not there.
std::string name_in(const runtime::HuggingFaceWeights& weights, const HuggingFaceForm& form, const std::string& name) {
  if (weights.contains(name)) return name;
  if (!form.prefix.empty() && name.starts_with(form.prefix) && weights.contains(name.substr(form.prefix.size())))
    return name.substr(form.prefix.size());
  return {};
}

/// Fills the parameter from the file. Returns the tensor's name there.
std::string read_tensor(const runtime::ParameterStore& store, const runtime::HuggingFaceWeights& weights,
                        const HuggingFaceForm& form, const HuggingFaceTensor& tensor) {
  std::string name = name_in(weights, form, tensor.theirs);
  if (name.empty()) throw CheckpointError("the weights hold no tensor \"" + tensor.theirs + "\", which config.json asks for");
  if (weights.shape(name) != tensor.shape)
    throw CheckpointError("tensor \"" + name + "\" has the shape " + shape_text(weights.shape(name)) +
                          ", config.json asks for " + shape_text(tensor.shape));
  const auto* parameter = find(store, tensor.ours);
  require(parameter != nullptr, "import", "a tensor of a parameter that the model does not have");
  const Tensor& value = parameter->value();
  const auto count = static_cast<std::size_t>(elements_of(tensor.shape));
  if (!tensor.transposed) {
    weights.read(name, {value.data<float>(), count});
    return name;
  }
  std::vector<float> theirs(count);
  weights.read(name, theirs);
  transpose(value.data<float>(), theirs.data(), tensor.shape[0], tensor.shape[1]);
  return name;
}

/// What nobody asked for must be known to hold nothing: half a model would be a silent wrong result.
void require_nothing_left(const runtime::HuggingFaceWeights& weights, const HuggingFaceForm& form,
                          const std::vector<std::string>& used) {
  for (const std::string& name : weights.names()) {
    if (std::ranges::find(used, name) != used.end()) continue;
    const auto ends = [&](const std::string& end) { return name.ends_with(end); };
    if (std::ranges::any_of(form.ignored, ends)) continue;
    const auto again = std::ranges::find_if(form.repeated, [&](const auto& pair) { return pair.first == name; });
    if (again == form.repeated.end())
      throw CheckpointError(
          fmt::format("the weights hold a tensor \"{}\" that a model of this config.json has no place for", name));
    std::vector<float> one(static_cast<std::size_t>(elements_of(weights.shape(name))));
    const std::string original = name_in(weights, form, again->second);
    std::vector<float> other(static_cast<std::size_t>(elements_of(weights.shape(original))));
    weights.read(name, one);
    weights.read(original, other);
    if (one != other)
      throw CheckpointError(
          fmt::format("config.json says that \"{}\" is \"{}\" (tie_word_embeddings), but the file holds other values; set "
                      "tie_word_embeddings to false in it",
                      name, original));
  }
}

std::int64_t rows_of(const nlohmann::json& config) {
  const auto found = config.find("vocab_size");
  return found != config.end() && found->is_number_integer() ? found->get<std::int64_t>() : 0;
}

std::unique_ptr<runtime::Tokenizer> tokenizer_for(const fs::path& directory, const std::string& which, std::int64_t rows) {
  auto tokenizer = which == "byte" ? runtime::make_byte_tokenizer() : runtime::read_huggingface_tokenizer(directory);
  if (tokenizer->vocabulary_size() > rows)
    throw ConfigError(fmt::format("the tokenizer has {} tokens, but the model's table {} rows (config.json: vocab_size)",
                                  tokenizer->vocabulary_size(), rows));
  return tokenizer;
}

}  // namespace

std::size_t export_huggingface(const LoadedRun& run, const fs::path& directory, bool overwrite) {
  const std::int64_t rows = run.language_model().vocabulary();
  HuggingFaceForm form = run.config.model->huggingface(rows);
  if (const auto end = run.tokenizer->end_of_text()) form.config["bos_token_id"] = form.config["eos_token_id"] = *end;
  // What there has no place for: whether a text begins with the end of the one before.
  const auto& data = run.config.data;
  form.config["tradewind"] = {{"documents", data.separates() && data.documents == "whole" ? "line" : data.documents}};
  std::vector<Tensor> kept;  // what the list below points to
  std::vector<runtime::SafetensorsTensor> tensors;
  for (const HuggingFaceTensor& tensor : form.tensors) {
    const auto* parameter = tensor.ours.empty() ? nullptr : find(run.task->parameters(), tensor.ours);
    require(parameter != nullptr || tensor.ours.empty(), "export", "a tensor of a parameter that the model does not have");
    Tensor value = parameter != nullptr ? parameter->value() : Tensor();
    if (parameter == nullptr || tensor.transposed) {
      const Tensor copy(runtime::host_allocator(), {elements_of(tensor.shape)}, kernels::DType::kFloat32);
      if (parameter == nullptr)
        copy.fill(0.0F);
      else
        transpose(copy.data<float>(), value.data<float>(), tensor.shape[1], tensor.shape[0]);
      value = copy;
    }
    kept.push_back(value);
    tensors.push_back({tensor.theirs, kernels::DType::kFloat32, tensor.shape, value.raw()});
  }
  runtime::write_huggingface(directory, form.config, tensors,
                             runtime::huggingface_files(*run.tokenizer, run.config.model->context()), overwrite);
  return tensors.size();
}

ImportedModel import_huggingface(const fs::path& directory, const fs::path& to, const std::string& which,
                                 const models::Registry& registry) {
  const auto json = runtime::read_huggingface_config(directory);
  const auto& entry = registry.find_huggingface(json.at("model_type").get<std::string>());
  RunConfig config = default_run_config(entry.name, registry);
  config.model = entry.from_huggingface(json);
  config.run.directory = to.string();
  const auto context = make_host_context(config);
  const auto tokenizer = tokenizer_for(directory, which, rows_of(json));
  config.data.tokenizer = tokenizer->name();
  if (const auto ours = json.find("tradewind"); ours != json.end() && ours->is_object() && ours->contains("documents"))
    config.data.documents = ours->at("documents").is_string() ? ours->at("documents").get<std::string>() : "whole";
  const auto task = config.model->build({.vocabulary = tokenizer->vocabulary_size()});
  auto& store = task->parameters();
  store.allocate(*context);
  const auto* model = dynamic_cast<const models::LanguageModel*>(task.get());
  require(model != nullptr, "import", "a Hugging Face model that is no language model");
  const HuggingFaceForm form = config.model->huggingface(model->vocabulary());
  const runtime::HuggingFaceWeights weights(directory);
  std::vector<std::string> used;
  for (const auto& tensor : form.tensors) used.push_back(read_tensor(store, weights, form, tensor));
  require_nothing_left(weights, form, used);

  if (fs::exists(fs::symlink_status(to))) throw ConfigError(to.string() + " exists; choose another name with --to");
  runtime::Log log;
  const runtime::RunDirectory run(to, config.text(), false, log);
  run.write_environment(runtime::describe_environment(*context));
  runtime::CheckpointContents contents;
  for (const auto& p : store.parameters()) contents.tensors.push_back({p->name(), p->value(), p->shape()});
  contents.state = {{"run", run_state(config, {{"tokenizer", tokenizer->to_json()}}, 0)},
                    {"imported_from", fs::absolute(directory).string()}};
  runtime::CheckpointWriter writer(run.checkpoint_folder(), 1);
  writer.save(contents);
  writer.wait();
  run.write_status(runtime::RunState::kFinished, 0, 0, 0);
  return {.model = entry.name,
          .tokenizer = tokenizer->name(),
          .parameters = store.parameter_count(),
          .vocabulary = tokenizer->vocabulary_size(),
          .tensors = used.size()};
}

}  // namespace tradewind::launcher
