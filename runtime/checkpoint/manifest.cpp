#include "runtime/checkpoint/manifest.h"

#include <cmath>
#include <limits>
#include <string_view>

#include "runtime/checkpoint/files.h"

namespace tradewind::runtime::detail {
namespace {

constexpr std::string_view kBefore = "{\"checksum\": \"", kAfter = "\",\n";
constexpr std::size_t kDigits = 16;
constexpr const char* kFormat = "tradewind checkpoint";
constexpr const char* kNumber = "$number";

bool stands_for_a_number(const nlohmann::json& value) {
  return value.is_object() && value.size() == 1 && value.contains(kNumber);
}

nlohmann::json encode(const nlohmann::json& value) {
  if (value.is_number_float() && !std::isfinite(value.get<double>())) {
    const auto x = value.get<double>();
    return {{kNumber, std::isnan(x) ? "nan" : x > 0 ? "inf" : "-inf"}};
  }
  require(!stands_for_a_number(value), "saving a checkpoint", "an object of the state has the single key \"$number\"");
  if (!value.is_structured()) return value;
  nlohmann::json out = value;
  for (auto& item : out) item = encode(item);
  return out;
}

void decode(nlohmann::json& value) {
  if (stands_for_a_number(value)) {
    const auto text = value.at(kNumber).get<std::string>();
    constexpr double kInfinity = std::numeric_limits<double>::infinity();
    value = text == "nan" ? std::numeric_limits<double>::quiet_NaN() : text == "inf" ? kInfinity : -kInfinity;
    return;
  }
  if (value.is_structured())
    for (auto& item : value) decode(item);
}

}  // namespace

std::string manifest_text(const Manifest& manifest) {
  nlohmann::json files = nlohmann::json::array();
  for (const ManifestFile& file : manifest.files)
    files.push_back({{"name", file.name}, {"bytes", file.bytes}, {"xxh3_64", file.checksum}});
  nlohmann::json tensors = nlohmann::json::array();
  for (const ManifestTensor& tensor : manifest.tensors)
    tensors.push_back({{"name", tensor.name}, {"dtype", tensor.dtype}, {"shape", tensor.shape}});
  const nlohmann::json json = {{"format", kFormat},     {"format_version", kCheckpointVersion},
                               {"step", manifest.step}, {"world_size", manifest.world_size},
                               {"tensors", tensors},    {"files", files}};
  const std::string rest = json.dump(1).substr(2) + "\n";  // without its "{\n": the checksum's line comes before it
  return std::string(kBefore) + checksum_of(rest) + std::string(kAfter) + rest;
}

Manifest parse_manifest(const std::string& text) {
  const std::string_view view = text;
  const std::size_t rest = kBefore.size() + kDigits + kAfter.size();
  if (view.size() < rest || !view.starts_with(kBefore) || view.substr(kBefore.size() + kDigits, kAfter.size()) != kAfter)
    throw CheckpointError("it does not begin with its checksum");
  if (view.substr(kBefore.size(), kDigits) != checksum_of(view.substr(rest)))
    throw CheckpointError("its checksum does not match its contents");
  try {
    const auto json = nlohmann::json::parse(text);
    if (json.at("format") != kFormat) throw CheckpointError("its format is " + json.at("format").dump());
    if (const auto version = json.at("format_version").get<std::int64_t>(); version > kCheckpointVersion)
      throw NewerFormat("it has format version " + std::to_string(version) + ", this program reads up to version " +
                        std::to_string(kCheckpointVersion) + "; use the newer version of Tradewind that wrote it");
    Manifest out;
    out.step = json.at("step").get<std::int64_t>();
    out.version = json.at("format_version").get<std::int64_t>();
    for (const auto& file : json.at("files"))
      out.files.push_back(
          {file.at("name").get<std::string>(), file.at("bytes").get<std::uint64_t>(), file.at("xxh3_64").get<std::string>()});
    if (out.version == 1) return out;  // of one process, without the list of tensors
    out.world_size = json.at("world_size").get<int>();
    for (const auto& tensor : json.at("tensors"))
      out.tensors.push_back({tensor.at("name").get<std::string>(), tensor.at("dtype").get<std::string>(),
                             tensor.at("shape").get<std::vector<std::int64_t>>()});
    return out;
  } catch (const nlohmann::json::exception& e) {
    throw CheckpointError(std::string("it lacks what a manifest has: ") + e.what());
  }
}

std::string state_text(const nlohmann::json& state) {
  try {
    return encode(state).dump() + "\n";
  } catch (const nlohmann::json::exception& e) {
    throw CheckpointError(std::string("the state holds text that is not UTF-8: ") + e.what());
  }
}

nlohmann::json parse_state(const std::string& text) {
  try {
    auto state = nlohmann::json::parse(text);
    decode(state);
    return state;
  } catch (const nlohmann::json::exception& e) {
    throw CheckpointError(std::string("it is no JSON: ") + e.what());
  }
}

}  // namespace tradewind::runtime::detail
