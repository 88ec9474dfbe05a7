#include "runtime/checkpoint/huggingface.h"

#include <bit>
#include <cmath>
#include <fstream>
#include <iterator>
#include <set>

#include "kernels/base/error.h"

namespace tradewind::runtime {

namespace fs = std::filesystem;

namespace {

constexpr const char* kWeights = "model.safetensors";
constexpr const char* kIndex = "model.safetensors.index.json";
constexpr const char* kConfig = "config.json";

nlohmann::json read_json(const fs::path& file) {
  const std::string text = InputFile(file).read_all();
  try {
    return nlohmann::json::parse(text);
  } catch (const nlohmann::json::exception& e) {
    throw CheckpointError("reading " + file.string() + ": it is no JSON: " + e.what() + "; fetch or write it again");
  }
}

/// The files that the index names. A name must be one in this directory.
std::set<std::string> shards_of(const fs::path& directory, const nlohmann::json& index) {
  const auto bad = [&](const std::string& what) {
    return CheckpointError("reading " + (directory / kIndex).string() + ": " + what + "; fetch it again");
  };
  if (!index.is_object() || !index.contains("weight_map") || !index.at("weight_map").is_object())
    throw bad("it has no weight_map");
  std::set<std::string> out;
  for (const auto& [tensor, file] : index.at("weight_map").items()) {
    if (!file.is_string() || file.get<std::string>().find('/') != std::string::npos)
      throw bad("the file of \"" + tensor + "\" is no name of one beside it");
    out.insert(file.get<std::string>());
  }
  return out;
}

std::string without_weights(const fs::path& directory) {
  const std::string base = directory.string() + " holds no " + kWeights;
  if (fs::exists(directory / "pytorch_model.bin"))
    return base +
           ", only pytorch_model.bin, which is a Python program of its own; convert it: in Python, "
           "AutoModelForCausalLM.from_pretrained(DIR).save_pretrained(DIR2)";
  return base + " and no " + kIndex +
         "; give a directory that save_pretrained or `tradewind export --format huggingface` wrote";
}

/// A directory that may be replaced: one that holds a model. Anything else is not ours to delete.
void require_replaceable(const fs::path& directory, bool overwrite) {
  if (!fs::exists(fs::symlink_status(directory))) return;
  if (!overwrite) throw ConfigError(directory.string() + " exists; choose another name, or add --overwrite to replace it");
  if (!fs::is_directory(directory) || !fs::exists(directory / kConfig) || !fs::exists(directory / kWeights))
    throw ConfigError(directory.string() + " is not replaced: it is no Hugging Face directory (" + kConfig + " and " +
                      kWeights + "); choose another name");
}

void write_text(const fs::path& file, const std::string& text) {
  DurableFile out(file);
  out.write(text.data(), text.size());
  out.finish();
}

/// Removes what was begun, unless it was finished.
class Staging {
 public:
  /// Beside `to`, which it is to become.
  explicit Staging(const fs::path& to) : path_(leftover_name(to)) {
    std::error_code error;
    if (!fs::create_directory(path_, error))
      throw CheckpointError("cannot make " + to.string() + ": " +
                            (error ? error.message() : path_.string() + " is in the way") +
                            "; the directory above it must exist and be writable");
  }
  ~Staging() {
    std::error_code ignored;  // what stays has a leftover's name
    if (!done) fs::remove_all(path_, ignored);
  }
  Staging(const Staging&) = delete;
  Staging& operator=(const Staging&) = delete;
  const fs::path& path() const { return path_; }
  bool done = false;

 private:
  fs::path path_;
};

}  // namespace

nlohmann::json read_huggingface_config(const fs::path& directory) {
  if (!fs::is_directory(directory)) throw ConfigError(directory.string() + " is no directory");
  if (!fs::exists(directory / kConfig))
    throw ConfigError(directory.string() + " is no Hugging Face directory: it has no " + kConfig);
  auto config = read_json(directory / kConfig);
  if (!config.is_object() || !config.value("model_type", nlohmann::json()).is_string())
    throw ConfigError((directory / kConfig).string() + " has no model_type");
  return config;
}

HuggingFaceWeights::HuggingFaceWeights(const fs::path& directory) : directory_(directory) {
  std::set<std::string> files;
  nlohmann::json index;
  if (fs::exists(directory / kWeights)) {
    files.insert(kWeights);
  } else if (fs::exists(directory / kIndex)) {
    index = read_json(directory / kIndex);
    files = shards_of(directory, index);
  } else {
    throw CheckpointError(without_weights(directory));
  }
  for (const auto& name : files) {
    files_.push_back(SafetensorsFile::open(directory / name));
    for (const auto& [tensor, entry] : files_.back().entries())
      if (!where_.emplace(tensor, files_.size() - 1).second)
        throw CheckpointError("reading " + (directory / name).string() + ": \"" + tensor +
                              "\" is in another file as well; fetch the directory again");
  }
  if (index.is_null()) return;
  for (const auto& [tensor, file] : index.at("weight_map").items())
    if (!contains(tensor))
      throw CheckpointError("reading " + (directory / file.get<std::string>()).string() + ": \"" + tensor + "\", which " +
                            kIndex + " says is there, is not; fetch the directory again");
}

const SafetensorsFile& HuggingFaceWeights::file(const std::string& name) const {
  const auto found = where_.find(name);
  if (found == where_.end()) throw CheckpointError(directory_.string() + " has no tensor \"" + name + "\"");
  return files_[found->second];
}

std::vector<std::string> HuggingFaceWeights::names() const {
  std::vector<std::string> out;
  for (const auto& [name, file] : where_) out.push_back(name);
  return out;
}

void HuggingFaceWeights::read(const std::string& name, std::span<float> out) const {
  const SafetensorsFile& from = file(name);
  const auto& entry = from.entry(name);
  if (entry.elements != static_cast<std::int64_t>(out.size()))
    throw InternalError("reading \"" + name + "\": " + std::to_string(out.size()) + " elements were asked for");
  if (entry.type == "F32") return from.read(name, out.data());
  if (entry.type != "F16" && entry.type != "BF16")
    throw CheckpointError("reading " + from.file()->path().string() + ": \"" + name + "\" is of type " + entry.type +
                          "; F32, F16 and BF16 can be read");
  std::vector<std::uint16_t> bits(out.size());
  from.read(name, bits.data());
  const auto widen = entry.type == "F16" ? float_of_half : float_of_bfloat16;
  for (std::size_t i = 0; i < bits.size(); ++i) out[i] = widen(bits[i]);
}

float float_of_half(std::uint16_t bits) {
  const int exponent = bits >> 10 & 0x1F, fraction = bits & 0x3FF;
  float magnitude;
  if (exponent == 31)
    magnitude = fraction == 0 ? INFINITY : NAN;
  else if (exponent == 0)
    magnitude = std::ldexp(static_cast<float>(fraction), -24);
  else
    magnitude = std::ldexp(static_cast<float>(fraction + 1024), exponent - 25);
  return (bits & 0x8000) != 0 ? -magnitude : magnitude;
}

float float_of_bfloat16(std::uint16_t bits) { return std::bit_cast<float>(static_cast<std::uint32_t>(bits) << 16); }

void write_huggingface(const fs::path& directory, const nlohmann::ordered_json& config,
                       const std::vector<SafetensorsTensor>& tensors, const std::map<std::string, std::string>& files,
                       bool overwrite) {
  fs::path to = directory;
  if (!to.has_filename()) to = to.parent_path();  // "gpt2/"
  require_replaceable(to, overwrite);
  Staging staging(to);
  DurableFile weights(staging.path() / kWeights);
  write_safetensors(weights, tensors, {{"format", "pt"}});
  weights.finish();
  write_text(staging.path() / kConfig, config.dump(2) + "\n");
  for (const auto& [name, text] : files) write_text(staging.path() / name, text);
  sync_directory(staging.path());
  put_directory(staging.path(), to);
  staging.done = true;
}

}  // namespace tradewind::runtime
