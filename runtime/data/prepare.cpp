#include "runtime/data/prepare.h"

#include <fmt/format.h>
#include <sys/stat.h>

#include <algorithm>
#include <exception>
#include <functional>
#include <system_error>

#include "kernels/base/error.h"
#include "kernels/base/parallel.h"
#include "runtime/checkpoint/files.h"
#include "runtime/data/byte_stream.h"
#include "runtime/data/corpus_parts.h"
#include "runtime/data/prepared_assembly.h"
#include "runtime/data/prepared_file.h"
#include "runtime/data/prepared_stage.h"
#include "runtime/text/bpe_trainer.h"
#include "runtime/text/pre_tokenizer.h"
#include "runtime/text/utf8.h"

namespace tradewind::runtime {
namespace {

namespace fs = std::filesystem;
using nlohmann::json;

PreparedSource source_of(const DataConfig& config, const std::string& part, const std::string& path, const std::string& key) {
  PreparedSource source{.part = part, .key = key, .path = path, .options = read_options(config, path, key)};
  struct stat info {};
  if (::stat(path.c_str(), &info) != 0) ByteStream::open(path, key);  // says what is wrong
  source.file_bytes = static_cast<std::uint64_t>(info.st_size);
  source.modified = std::int64_t{info.st_mtim.tv_sec} * 1'000'000'000 + info.st_mtim.tv_nsec;
  return source;
}

/// What a thread does with a piece.
struct Work {
  TextPiece piece;
  std::string tokens;                   // as they lie in the file
  std::vector<std::int64_t> documents;  // where they begin, counted in tokens of this piece
  std::int64_t count = 0;               // of tokens
  std::u32string characters;
  WordCounts words;
  std::exception_ptr failure;
};

class Preparation {
 public:
  Preparation(const DataConfig& config, const PrepareOptions& options, PrepareObserver& observer)
      : config_(config), options_(options), observer_(observer), separate_(config.separates()) {
    if (config.path.empty()) throw ConfigError("data.path is not set. Name a text or JSON lines file: --set data.path=FILE");
    sources_.push_back(source_of(config, "training", config.path, "data.path"));
    if (!config.validation_path.empty())
      sources_.push_back(source_of(config, "validation", config.validation_path, "data.validation_path"));
    check_vocabulary_size();
    tokenizer_ = named_tokenizer(config);
    key_ = key();
  }

  Prepared run() {
    fs::path folder = options_.to;
    folder += ".unfinished";
    if (found_before()) {
      remove_leftover(folder);
      return Prepared::kBefore;
    }
    PreparedStage stage(folder, key_, options_.fresh);
    if (!take_tokenizer(stage)) return Prepared::kStopped;
    for (std::size_t part = 0; part < sources_.size(); ++part)
      if (!encode(stage, part)) return Prepared::kStopped;
    observer_.on_progress("putting " + options_.to.string() + " together", 0, 0);
    observer_.on_note(put_together(stage, sources_, key_, *tokenizer_, options_.to));
    return Prepared::kNow;
  }

 private:
  void check_vocabulary_size() const {
    if (options_.vocabulary_size == 0) {
      if (config_.tokenizer == "bpe" && config_.vocabulary.empty())
        throw ConfigError(
            "data.tokenizer = \"bpe\" needs a vocabulary: set data.vocabulary to a folder with vocab.json and merges.txt, or "
            "train "
            "one on the text with --vocabulary-size N");
      return;
    }
    if (config_.tokenizer != "bpe")
      throw ConfigError(
          fmt::format("--vocabulary-size trains a byte-level BPE, but data.tokenizer is \"{}\". Add --set "
                      "data.tokenizer=bpe, or leave it out",
                      config_.tokenizer));
    if (!config_.vocabulary.empty())
      throw ConfigError("--vocabulary-size trains a vocabulary, but data.vocabulary names one. Leave one out");
    train_bpe(WordCounts(), options_.vocabulary_size, separate_);  // complains where it is too small
  }

  /// What the result depends on, the contents of the files aside.
  json key() const {
    const ReadOptions& read = sources_.front().options;
    json out = {{"format_version", kPreparedVersion},
                {"data.tokenizer", config_.tokenizer},
                {"data.documents", documents_of(config_, read.format)}};
    if (read.format != TextFormat::kText) out["data.text_key"] = config_.text_key;
    if (tokenizer_ && !config_.vocabulary.empty())
      out["data.vocabulary (checksum)"] = checksum_of(tokenizer_->to_json().dump());
    if (options_.vocabulary_size > 0) out["--vocabulary-size"] = options_.vocabulary_size;
    for (const PreparedSource& source : sources_) {
      out[source.key] = source.path;
      out[source.key + " (bytes)"] = source.file_bytes;
      if (sources_.size() > 1 && source.options.format != read.format)
        throw ConfigError("data.path and data.validation_path must both be text, JSON lines or CSV (data.format)");
    }
    return out;
  }

  bool found_before();
  void remove_leftover(const fs::path& folder) const;
  bool same_contents(const PreparedSource& source, const json& before);
  bool take_tokenizer(PreparedStage& stage);
  bool encode(PreparedStage& stage, std::size_t part);
  void encode_piece(Work& work, TextEncoder& encoder, std::vector<std::int32_t>& ids) const;

  /// Reads `source` from where `stream` is to its end, a batch of pieces at a time: `body(work, thread)` on all threads, then
  /// `take(works, position)` on this one. False where it was to stop.
  bool for_each_batch(DocumentStream& stream, const PreparedSource& source, const std::string& what,
                      const std::function<void(Work&, int)>& body,
                      const std::function<void(std::span<Work>, const DocumentStream::Position&)>& take);

  const DataConfig& config_;
  const PrepareOptions& options_;
  PrepareObserver& observer_;
  bool separate_;
  std::vector<PreparedSource> sources_;
  std::shared_ptr<Tokenizer> tokenizer_;
  json key_;
};

bool Preparation::for_each_batch(DocumentStream& stream, const PreparedSource& source, const std::string& what,
                                 const std::function<void(Work&, int)>& body,
                                 const std::function<void(std::span<Work>, const DocumentStream::Position&)>& take) {
  const std::uint64_t total = stream.compression().empty() ? source.file_bytes : 0;
  std::vector<Work> works(options_.batch_pieces);
  for (;;) {
    observer_.on_progress(what, stream.position().bytes, total);
    if (observer_.stop_requested()) return false;
    std::size_t count = 0;
    while (count < works.size() && stream.next(works[count].piece)) ++count;
    if (count == 0) return true;
    kernels::WorkQueue queue(static_cast<std::int64_t>(count), 1, 1, options_.threads);
    kernels::parallel_team(options_.threads, [&](int thread, int, auto&&) {
      for (kernels::Share at = queue.take(); at.begin < at.end; at = queue.take()) {
        Work& work = works[static_cast<std::size_t>(at.begin)];
        try {
          stream.decode(work.piece);
          body(work, thread);
        } catch (...) {
          work.failure = std::current_exception();
        }
      }
    });
    for (std::size_t i = 0; i < count; ++i)
      if (works[i].failure) std::rethrow_exception(works[i].failure);
    take(std::span(works).first(count), stream.position());
  }
}

bool Preparation::found_before() {
  std::error_code ignored;
  if (!fs::exists(options_.to, ignored)) return false;
  if (!is_prepared(options_.to))
    throw DataError(fmt::format("{} is there and is no prepared data set. Remove it, or choose another file with --to",
                                options_.to.string()));
  if (options_.fresh) return false;
  const PreparedFile before(options_.to);
  const json& description = before.description();
  if (const std::string difference = describe_difference(description.at("key"), key_); !difference.empty())
    throw DataError(fmt::format("{} was prepared otherwise: {}. Prepare it anew with --fresh, or choose another file with --to",
                                options_.to.string(), difference));
  for (std::size_t i = 0; i < sources_.size(); ++i)
    if (!same_contents(sources_[i], description.at("sources").at(i)))
      throw DataError(fmt::format("{} has changed since {} was prepared of it. Prepare it anew with --fresh", sources_[i].path,
                                  options_.to.string()));
  return true;
}

/// Of a process that ended between giving the file its name and removing the folder.
void Preparation::remove_leftover(const fs::path& folder) const {
  if (!fs::exists(folder)) return;
  try {
    PreparedStage(folder, key_, false).remove();
  } catch (const DataError&) {  // it is of other work, perhaps of a process that is at it: leave it
  }
}

/// By time of change, else by contents.
bool Preparation::same_contents(const PreparedSource& source, const json& before) {
  if (source.modified == before.at("modified")) return true;
  DocumentStream stream(source.path, source.options, options_.piece_bytes, whole_characters);
  return stream.skip_to({.bytes = before.at("bytes"), .checksum = before.at("checksum")});
}

/// The one that was named, or made before, or that the text gives.
bool Preparation::take_tokenizer(PreparedStage& stage) {
  if (tokenizer_) return true;
  if (!stage.tokenizer().is_null()) {
    tokenizer_ = Tokenizer::from_json(stage.tokenizer().at("tokenizer"));
    return true;
  }
  const bool bpe = options_.vocabulary_size > 0;
  std::u32string characters;
  WordCounts words;
  json checksums = json::array();
  for (const PreparedSource& source : sources_) {
    if (bpe && source.part != "training") continue;
    DocumentStream stream(source.path, source.options, options_.piece_bytes, bpe ? last_word_boundary : whole_characters);
    const auto look = [&](Work& work, int) {
      work.words = WordCounts();
      work.characters.clear();
      std::vector<std::string_view> texts;
      for (const auto& segment : work.piece.segments) texts.push_back(work.piece[segment]);
      if (bpe)
        for (const std::string_view text : texts) work.words.add(text);
      else
        work.characters = distinct_characters(texts);
    };
    const auto add = [&](std::span<Work> works, const DocumentStream::Position&) {
      for (const Work& work : works) {
        words.add(work.words);
        std::u32string both;
        std::set_union(characters.begin(), characters.end(), work.characters.begin(), work.characters.end(),
                       std::back_inserter(both));
        characters = std::move(both);
      }
    };
    if (!for_each_batch(stream, source, (bpe ? "counting the words of " : "looking for the characters of ") + source.path, look,
                        add))
      return false;
    checksums.push_back(stream.position().checksum);
  }
  if (words.left_out() > 0)
    observer_.on_note(fmt::format("{} words were not counted: the text has more distinct words than are held in memory",
                                  with_commas(words.left_out())));
  if (bpe) observer_.on_progress("training the vocabulary", 0, 0);
  tokenizer_ = bpe ? make_bpe_tokenizer(train_bpe(words, options_.vocabulary_size, separate_))
                   : make_char_tokenizer(characters, separate_);
  if (bpe && tokenizer_->vocabulary_size() < options_.vocabulary_size)
    observer_.on_note(fmt::format("the words of the text give {} tokens, fewer than the {} asked for",
                                  with_commas(tokenizer_->vocabulary_size()), with_commas(options_.vocabulary_size)));
  stage.keep_tokenizer({{"tokenizer", tokenizer_->to_json()}, {"checksums", checksums}});
  return true;
}

void Preparation::encode_piece(Work& work, TextEncoder& encoder, std::vector<std::int32_t>& ids) const {
  ids.clear();
  work.documents.clear();
  for (const auto& segment : work.piece.segments) {
    if (segment.begins_document) work.documents.push_back(static_cast<std::int64_t>(ids.size()));
    if (segment.begins_document && separate_) ids.push_back(*tokenizer_->end_of_text());
    try {
      encoder.append(work.piece[segment], ids);
    } catch (const DataError& error) {
      throw DataError(fmt::format("the document at line {}: {}", segment.line, error.what()));
    }
  }
  work.count = static_cast<std::int64_t>(ids.size());
  if (fits_two_bytes(tokenizer_->vocabulary_size())) {
    work.tokens.resize(ids.size() * sizeof(std::uint16_t));
    auto* const out = reinterpret_cast<std::uint16_t*>(work.tokens.data());
    for (std::size_t i = 0; i < ids.size(); ++i) out[i] = static_cast<std::uint16_t>(ids[i]);
  } else {
    work.tokens.assign(reinterpret_cast<const char*>(ids.data()), ids.size() * sizeof(std::int32_t));
  }
}

bool Preparation::encode(PreparedStage& stage, std::size_t part) {
  if (stage.part(part).done) return true;
  const PreparedSource& source = sources_[part];
  DocumentStream stream(source.path, source.options, options_.piece_bytes,
                        [this](std::string_view text) { return tokenizer_->cut(text); });
  const auto changed = [&] {
    return DataError(
        fmt::format("{} has changed since {} was begun. Begin anew with --fresh", source.path, stage.folder().string()));
  };
  if (!stream.skip_to(stage.part(part).position)) throw changed();
  std::vector<std::unique_ptr<TextEncoder>> encoders;
  std::vector<std::vector<std::int32_t>> ids(static_cast<std::size_t>(options_.threads));
  encoders.reserve(ids.size());
  for (int i = 0; i < options_.threads; ++i) encoders.push_back(tokenizer_->encoder());
  const auto body = [&](Work& work, int thread) {
    const auto i = static_cast<std::size_t>(thread);
    try {
      encode_piece(work, *encoders[i], ids[i]);
    } catch (const DataError& error) {
      throw DataError(source.path + ", " + error.what());
    }
  };
  const auto take = [&](std::span<Work> works, const DocumentStream::Position& position) {
    PreparedStage::Batch batch{.position = position};
    for (const Work& work : works) {
      const std::int64_t before = stage.part(part).tokens + batch.token_count;
      for (const std::int64_t document : work.documents) batch.documents.push_back(before + document);
      batch.tokens.emplace_back(work.tokens);
      batch.token_count += work.count;
    }
    stage.append(part, batch);
  };
  if (!for_each_batch(stream, source, "encoding " + source.path, body, take)) return false;
  if (stage.part(part).documents == 0)
    throw DataError(fmt::format("{} holds no text, only blank lines or empty strings", source.path));
  const json checksums = stage.tokenizer().is_null() ? json::array() : stage.tokenizer().at("checksums");
  if (part < checksums.size() && checksums[part] != stream.position().checksum) throw changed();

  PreparedStage::Batch last{.position = stream.position(), .last = true};
  Work end;
  if (separate_) {
    std::vector<std::int32_t> none;
    end.piece.segments.push_back({0, 0, 0, true});
    encode_piece(end, *encoders.front(), none);
    last.tokens.emplace_back(end.tokens);
    last.token_count = end.count;
  }
  stage.append(part, last);
  return true;
}

}  // namespace

Prepared prepare_text(const DataConfig& config, const PrepareOptions& options, PrepareObserver& observer) {
  try {
    return Preparation(config, options, observer).run();
  } catch (const CheckpointError& e) {  // what checkpoint/files.h throws
    throw DataError(e.what());
  } catch (const fs::filesystem_error& e) {
    throw DataError(e.what());
  }
}

}  // namespace tradewind::runtime
