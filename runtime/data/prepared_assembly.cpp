#include "runtime/data/prepared_assembly.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <unistd.h>
#include <xxhash.h>

#include <cerrno>
#include <memory>
#include <span>
#include <system_error>

#include "kernels/base/error.h"
#include "runtime/checkpoint/files.h"
#include "runtime/data/corpus_parts.h"
#include "runtime/data/prepared_file.h"
#include "runtime/data/write_at.h"

namespace tradewind::runtime {
namespace {

namespace fs = std::filesystem;
using nlohmann::json;
using Sources = std::vector<PreparedSource>;

json describe(PreparedStage& stage, const Sources& sources, const json& key, const Tokenizer& tokenizer) {
  json all = json::array();
  std::int64_t tokens = 0, documents = 0;
  for (std::size_t i = 0; i < sources.size(); ++i) {
    const auto& part = stage.part(i);
    all.push_back({{"part", sources[i].part},
                   {"path", sources[i].path},
                   {"file_bytes", sources[i].file_bytes},
                   {"modified", sources[i].modified},
                   {"bytes", part.position.bytes},
                   {"checksum", part.position.checksum},
                   {"documents", part.documents},
                   {"tokens", part.tokens}});
    tokens += part.tokens, documents += part.documents;
  }
  return {{"key", key},
          {"sources", all},
          {"summary",
           fmt::format("{} tokens of {} document{}, tokenizer {}, vocabulary {}", with_commas(tokens), with_commas(documents),
                       documents == 1 ? "" : "s", tokenizer.name(), with_commas(tokenizer.vocabulary_size()))}};
}

std::vector<PreparedArray> arrays_of(PreparedStage& stage, const Sources& sources, const Tokenizer& tokenizer) {
  const int width = fits_two_bytes(tokenizer.vocabulary_size()) ? 2 : 4;
  std::vector<PreparedArray> arrays;
  for (std::size_t i = 0; i < sources.size(); ++i) {
    const auto checksum = [&](PreparedStage::File file) {
      const std::unique_ptr<XXH3_state_t, decltype(&XXH3_freeState)> state(XXH3_createState(), XXH3_freeState);
      XXH3_64bits_reset(state.get());
      stage.read(i, file, [&](std::span<const char> bytes) { XXH3_64bits_update(state.get(), bytes.data(), bytes.size()); });
      return XXH3_64bits_digest(state.get());
    };
    const std::string group = "/" + sources[i].part;
    arrays.push_back({.name = group + "/tokens",
                      .bytes_each = width,
                      .count = stage.part(i).tokens,
                      .checksum = checksum(PreparedStage::File::kTokens)});
    arrays.push_back({.name = group + "/documents",
                      .bytes_each = 8,
                      .count = stage.part(i).documents,
                      .checksum = checksum(PreparedStage::File::kDocuments)});
  }
  return arrays;
}

void copy(const PreparedStage& stage, const fs::path& file, const std::vector<PreparedArray>& arrays) {
  const int descriptor = ::open(file.c_str(), O_WRONLY | O_CLOEXEC);
  const std::unique_ptr<const int, void (*)(const int*)> closer(&descriptor, [](const int* d) { ::close(*d); });
  const auto fail = [&](const char* doing) {
    throw DataError(
        fmt::format("{} {}: {}. What is done so far is kept: make room where the disk is full, then run the same "
                    "command again",
                    doing, file.string(), std::system_category().message(errno)));
  };
  if (descriptor < 0) fail("opening");
  for (std::size_t i = 0; i < arrays.size(); ++i) {
    std::uint64_t at = arrays[i].offset;
    const auto kind = i % 2 == 0 ? PreparedStage::File::kTokens : PreparedStage::File::kDocuments;
    stage.read(i / 2, kind, [&](std::span<const char> bytes) {
      if (!write_at(descriptor, at, bytes.data(), bytes.size())) fail("writing");
      at += bytes.size();
    });
  }
  if (::fsync(descriptor) != 0) fail("syncing");
}

}  // namespace

std::string put_together(PreparedStage& stage, const std::vector<PreparedSource>& sources, const json& key,
                         const Tokenizer& tokenizer, const fs::path& to) {
  const json description = describe(stage, sources, key, tokenizer);
  std::vector<PreparedArray> arrays = arrays_of(stage, sources, tokenizer);
  const fs::path file = stage.folder() / "prepared.h5";
  fs::remove(file);  // of an earlier try
  create_prepared(file, tokenizer.to_json(), description, arrays);
  copy(stage, file, arrays);
  const PreparedFile again(file);  // compares checksums
  fs::rename(file, to);
  sync_directory(to.has_parent_path() ? to.parent_path() : fs::path("."));
  stage.remove();
  return description.at("summary");
}

}  // namespace tradewind::runtime
