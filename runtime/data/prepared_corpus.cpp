#include <fmt/format.h>

#include <filesystem>

#include "kernels/base/error.h"
#include "runtime/checkpoint/files.h"
#include "runtime/data/corpus_parts.h"
#include "runtime/data/prepared_file.h"

namespace tradewind::runtime {
namespace {

namespace fs = std::filesystem;
using nlohmann::json;

/// The file was made as the config says.
void check_key(const DataConfig& config, const json& key) {
  const auto compare = [&](const std::string& name, const std::string& now, const std::string& then) {
    if (now == then) return;
    throw ConfigError(fmt::format(
        "{} = \"{}\", but {} was prepared with {} = \"{}\". Set it back, or prepare the text again: tradewind prepare "
        "RECIPE --fresh",
        name, now, config.prepared, name, then));
  };
  const ReadOptions read = read_options(config, config.path, "data.path");
  compare("data.tokenizer", config.tokenizer, key.at("data.tokenizer"));
  const std::string documents = key.at("data.documents");
  const auto format_of = [](const std::string& name) {
    return name == "json_lines" ? TextFormat::kJsonLines : name == "csv" ? TextFormat::kCsv : TextFormat::kText;
  };
  if (const TextFormat then = format_of(documents); read.format != then) {
    const auto name = [](TextFormat format) {
      return format == TextFormat::kJsonLines ? "JSON lines" : format == TextFormat::kCsv ? "CSV" : "a text";
    };
    const char* const key_of[] = {"text", "jsonl", "csv"};
    throw ConfigError(
        fmt::format("{} was prepared of {}, but data.format and the name in data.path say {}. Set data.format = \"{}\"",
                    config.prepared, name(then), name(read.format), key_of[static_cast<int>(then)]));
  }
  if (read.format != TextFormat::kText)
    compare("data.text_key", config.text_key, key.at("data.text_key"));
  else
    compare("data.documents", config.documents, documents);
  if (config.validation_path.empty() == key.contains("data.validation_path"))
    throw ConfigError(fmt::format("{} was prepared {} data.validation_path, which is{} set. {}", config.prepared,
                                  config.validation_path.empty() ? "with" : "without",
                                  config.validation_path.empty() ? " not" : "",
                                  "Set it as it was, or prepare the text again: tradewind prepare RECIPE --fresh"));
  std::error_code ignored;
  if (!config.vocabulary.empty() && fs::exists(config.vocabulary, ignored))  // else the file's own is all there is
    compare("data.vocabulary (its checksum)", checksum_of(named_tokenizer(config)->to_json().dump()),
            key.value("data.vocabulary (checksum)", "none: trained on the text"));
}

/// Where the text is still there, it is the one that was prepared. Its contents are not read for that.
void check_source(const DataConfig& config, const std::string& key, const std::string& path, const json& source) {
  if (path.empty()) return;
  const fs::path now = path, then = source.at("path").get<std::string>();
  if (now.filename() != then.filename())
    throw ConfigError(
        fmt::format("{} = \"{}\", but {} was prepared of \"{}\". Set it back, or prepare it: tradewind prepare RECIPE "
                    "--to FILE",
                    key, path, config.prepared, then.string()));
  std::error_code missing;
  const auto bytes = fs::file_size(now, missing);
  if (!missing && bytes != source.at("file_bytes").get<std::uint64_t>())
    throw DataError(
        fmt::format("{} has {} bytes, but had {} when {} was prepared of it. Prepare it again: tradewind prepare RECIPE "
                    "--fresh",
                    path, bytes, source.at("file_bytes").get<std::uint64_t>(), config.prepared));
}

TextPart part_of(const PreparedFile& file, const json& source, bool separate) {
  TextPart part{.tokens = file.tokens(source.at("part")),
                .file = file.path().string(),
                .description = {},
                .checksum = source.at("checksum")};
  part.description =
      fmt::format("{}: {} tokens, prepared of {} bytes of {}", part.file, with_commas(source.at("tokens").get<std::int64_t>()),
                  with_commas(source.at("bytes").get<std::int64_t>()), source.at("path").get<std::string>());
  if (separate) part.description += fmt::format(", {} documents", with_commas(source.at("documents").get<std::int64_t>()));
  return part;
}

}  // namespace

CorpusParts open_prepared_corpus(const DataConfig& config, const Tokenizer* existing) {
  const PreparedFile file(config.prepared);
  const json& description = file.description();
  if (file.tokenizer().is_null())
    throw DataError(fmt::format("{} holds prepared events, and the model reads text. Name another file with data.prepared",
                                config.prepared));
  check_key(config, description.at("key"));
  const json& sources = description.at("sources");
  check_source(config, "data.path", config.path, sources.at(0));
  if (sources.size() > 1) check_source(config, "data.validation_path", config.validation_path, sources.at(1));
  if (existing != nullptr && existing->to_json() != file.tokenizer())
    throw DataError(
        fmt::format("{} was prepared with another vocabulary than the model was trained with. Prepare the text again "
                    "with that of the model, or train anew with --fresh",
                    config.prepared));
  CorpusParts parts;
  parts.tokenizer = Tokenizer::from_json(file.tokenizer());
  parts.text = part_of(file, sources.at(0), config.separates());
  if (sources.size() > 1) parts.validation = part_of(file, sources.at(1), config.separates());
  return parts;
}

}  // namespace tradewind::runtime
