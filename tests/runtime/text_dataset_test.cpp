#include "runtime/data/text_dataset.h"

#include <boost/test/unit_test.hpp>
#include <numeric>
#include <set>

#include "kernels/base/error.h"
#include "runtime/text/utf8.h"
#include "tests/support/temporary_folder.h"
#include "tests/support/throws.h"

using namespace tradewind;
using namespace tradewind::runtime;
using tests::check_throws;
using tests::TemporaryFolder;

namespace {

using Ids = std::vector<std::int32_t>;
using Longs = std::vector<std::int64_t>;

template <class T>
std::vector<T> values(const Batch& batch, const std::string& field) {
  const auto span = batch[field].span<T>();
  return {span.begin(), span.end()};
}

std::string text_of(const TextCorpus& corpus, const Ids& ids) {
  std::string out;
  for (const std::int32_t id : ids) out += id == corpus.tokenizer->end_of_text() ? "|" : corpus.tokenizer->decode({&id, 1});
  return out;
}

/// Counts up, so that a token says where it came from.
std::shared_ptr<TokenArray> counting(std::int64_t tokens, std::int64_t vocabulary = 1 << 20) {
  auto stream = std::make_shared<TokenArray>(vocabulary);
  Ids ids(static_cast<std::size_t>(tokens));
  std::iota(ids.begin(), ids.end(), 0);
  stream->append(ids);
  return stream;
}

TextDataset dataset(std::int64_t tokens, std::int64_t context, std::optional<std::uint64_t> seed) {
  return {counting(tokens),
          0,
          tokens,
          std::make_shared<std::vector<std::int32_t>>(static_cast<std::size_t>(tokens), 1),
          {.context = context, .offset_seed = seed}};
}

std::string repeat(const std::string& what, int times) {
  std::string out;
  for (int i = 0; i < times; ++i) out += what;
  return out;
}

}  // namespace

BOOST_AUTO_TEST_CASE(token_arrays_keep_every_id) {
  for (const std::int64_t vocabulary : {65536L, 65537L}) {
    const auto stream = counting(vocabulary, vocabulary);
    BOOST_TEST(stream->size() == vocabulary);
    for (std::int64_t i = 0; i < vocabulary; i += 13) BOOST_TEST((*stream)[i] == i);
    BOOST_TEST((*stream)[vocabulary - 1] == vocabulary - 1);
  }
}

BOOST_AUTO_TEST_CASE(blocks_hold_neighbours_and_what_follows_them) {
  const TextDataset data = dataset(11, 3, std::nullopt);
  BOOST_TEST(data.samples_per_epoch() == 3);  // (11 - 1) / 3
  const std::vector<SampleRef> samples{{100, 0, 2}, {101, 0, 0}};
  const Batch batch = data.collate(samples);
  BOOST_TEST((values<std::int32_t>(batch, "ids") == Ids{6, 7, 8, 0, 1, 2}));
  BOOST_TEST((values<std::int32_t>(batch, "targets") == Ids{7, 8, 9, 1, 2, 3}));
  BOOST_TEST((values<std::int32_t>(batch, "positions") == Ids{0, 1, 2, 0, 1, 2}));
  BOOST_TEST((values<std::int32_t>(batch, "slots") == Ids{0, 1, 2, 0, 1, 2}));
  BOOST_TEST((values<std::uint64_t>(batch, "samples") == std::vector<std::uint64_t>{100, 100, 100, 101, 101, 101}));
  BOOST_TEST((values<std::int64_t>(batch, "offsets") == Longs{0, 3, 6}));
  BOOST_TEST(batch.samples == 2);
  BOOST_TEST(batch.tokens == 6);
  BOOST_TEST(batch.valid == 6);
  BOOST_TEST(batch.max_length == 3);
  BOOST_TEST(batch.bytes_of_text == 6);
}

BOOST_AUTO_TEST_CASE(training_blocks_start_elsewhere_each_epoch_and_stay_inside) {
  for (const std::int64_t context : {1L, 7L, 64L}) {
    for (std::int64_t tokens = context + 1; tokens < 6 * context + 3; ++tokens) {
      const TextDataset data = dataset(tokens, context, 5);
      BOOST_TEST(data.samples_per_epoch() == std::max<std::int64_t>((tokens - context) / context, 1));
      std::set<std::int64_t> offsets;
      for (std::int64_t epoch = 0; epoch < 300; ++epoch) {
        const std::int64_t offset = data.first_token(epoch, 0);
        offsets.insert(offset);
        BOOST_TEST(offset >= 0);
        BOOST_TEST(offset < context);
        const std::int64_t last = data.first_token(epoch, data.samples_per_epoch() - 1);
        BOOST_TEST(last == offset + (data.samples_per_epoch() - 1) * context);
        BOOST_TEST(last + context < tokens);  // the last target is a token
      }
      if (context == 7 && tokens >= 2 * context) BOOST_TEST(offsets.size() == 7U);  // every one comes
    }
  }
  BOOST_TEST(dataset(1000, 64, 5).first_token(3, 0) == dataset(1000, 64, 5).first_token(3, 0));
}

BOOST_AUTO_TEST_CASE(documents_inside_a_block_are_sequences_of_their_own) {
  const TemporaryFolder folder;
  const DataConfig config{
      .path = folder.write("x.txt", "abcd\nef\n\nghi\njklmnop\n").string(), .validation_fraction = 0, .documents = "line"};
  const TextCorpus corpus = load_text_corpus(config, 8, 1);
  BOOST_TEST(corpus.tokenizer->vocabulary_size() == 17);  // 16 letters and the separator, no newline
  BOOST_TEST(!corpus.validation);
  BOOST_TEST(corpus.train->tokens() == 16 + 4 + 1);
  // The stream |abcd|ef|ghi|jklmnop| by windows of 8 from its start.
  auto stream = std::make_shared<TokenArray>(18);
  for (const char* part : {"abcd", "ef", "ghi", "jklmnop"}) {
    const std::int32_t end = *corpus.tokenizer->end_of_text();
    stream->append({&end, 1});
    stream->append(corpus.tokenizer->encode(part));
  }
  const TextDataset data(stream, 0, stream->size(), std::make_shared<std::vector<std::int32_t>>(18, 1),
                         {.context = 8, .separator = corpus.tokenizer->end_of_text()});
  const std::vector<SampleRef> samples{{7, 0, 0}, {8, 0, 1}};
  const Batch batch = data.collate(samples);
  BOOST_TEST(text_of(corpus, values<std::int32_t>(batch, "ids")) == "|abcd|ef|ghi|jkl");
  BOOST_TEST(text_of(corpus, values<std::int32_t>(batch, "targets")) == "abcd|ef|ghi|jklm");
  BOOST_TEST((values<std::int64_t>(batch, "offsets") == Longs{0, 5, 8, 12, 16}));
  BOOST_TEST((values<std::int32_t>(batch, "positions") == Ids{0, 1, 2, 3, 4, 0, 1, 2, 0, 1, 2, 3, 0, 1, 2, 3}));
  BOOST_TEST((values<std::int32_t>(batch, "slots") == Ids{0, 1, 2, 3, 4, 5, 6, 7, 0, 1, 2, 3, 4, 5, 6, 7}));
  BOOST_TEST(batch.max_length == 5);
}

BOOST_AUTO_TEST_CASE(a_block_that_begins_inside_a_document_begins_a_sequence) {
  auto stream = std::make_shared<TokenArray>(10);
  stream->append(Ids{9, 1, 2, 9, 3, 4, 5, 9, 6, 9});
  const TextDataset data(stream, 0, 10, std::make_shared<std::vector<std::int32_t>>(10, 1), {.context = 2, .separator = 9});
  const std::vector<SampleRef> samples{{0, 0, 1}, {1, 0, 2}, {2, 0, 3}};
  const Batch batch = data.collate(samples);  // 2 9 | 3 4 | 5 9
  BOOST_TEST((values<std::int64_t>(batch, "offsets") == Longs{0, 1, 2, 4, 5, 6}));
}

BOOST_AUTO_TEST_CASE(bytes_of_text_count_targets_in_utf8) {
  const TemporaryFolder folder;
  const DataConfig config{.path = folder.write("x.txt", "aé€😀").string(), .validation_fraction = 0};
  const TextCorpus corpus = load_text_corpus(config, 3, 1);
  const std::vector<SampleRef> samples{{0, 0, 0}};
  BOOST_TEST(corpus.train->collate(samples).bytes_of_text == 2 + 3 + 4);
}

BOOST_AUTO_TEST_CASE(a_whole_text_is_split_by_tokens) {
  const TemporaryFolder folder;
  const std::string text = repeat("abcdefghij", 100) + "xyz";
  const DataConfig config{.path = folder.write("x.txt", text).string()};
  const TextCorpus corpus = load_text_corpus(config, 10, 1);
  BOOST_TEST(corpus.train->tokens() == 902);  // int(0.9 * 1003)
  BOOST_TEST(corpus.validation->tokens() == 101);
  BOOST_TEST(corpus.validation->samples_per_epoch() == 10);
  const std::vector<SampleRef> samples{{0, 0, 0}};
  BOOST_TEST(text_of(corpus, values<std::int32_t>(corpus.validation->collate(samples), "ids")) == "cdefghijab");
  BOOST_TEST(corpus.validation->first_token(17, 3) == 30);  // every epoch the same
  BOOST_TEST(corpus.train->checksum() != 0U);
  BOOST_TEST(corpus.train->checksum() == corpus.validation->checksum());
  for (const char* part : {"1,003 bytes", "vocabulary 13", "902 tokens", "101 tokens", "10 windows of 10"})
    BOOST_TEST(corpus.summary.find(part) != std::string::npos, corpus.summary << " lacks " << part);
}

BOOST_AUTO_TEST_CASE(documents_are_split_between_documents) {
  const TemporaryFolder folder;
  const auto lines = [&](const std::string& text, double fraction) {
    const DataConfig config{.path = folder.write("x.txt", text).string(), .validation_fraction = fraction, .documents = "line"};
    return load_text_corpus(config, 2, 1);
  };
  const TextCorpus corpus = lines(repeat("abcd\n", 10), 0.1);  // 51 tokens, the cut at 45 rather than 40
  BOOST_TEST(corpus.train->tokens() == 46);
  BOOST_TEST(corpus.validation->tokens() == 6);
  const std::vector<SampleRef> samples{{0, 0, 0}};
  BOOST_TEST(text_of(corpus, values<std::int32_t>(corpus.validation->collate(samples), "ids")) == "|a");
  BOOST_TEST(lines("ab\n" + repeat("x", 100), 0.5).validation->tokens() == 102);  // at least one document each
  BOOST_TEST(lines(repeat("x", 100) + "\nab", 0.9).validation->tokens() == 4);
  check_throws<DataError>([&] { lines("only one document\n", 0.1); }, {"x.txt", "one document", "data.validation_path"});
}

BOOST_AUTO_TEST_CASE(json_lines_are_documents_and_validation_may_be_a_file) {
  const TemporaryFolder folder;
  DataConfig config{.path = folder.write("x.jsonl", "{\"body\": \"abc\\ndef\"}\n{\"body\": \"gh\"}\n").string(),
                    .validation_path = folder.write("y.jsonl", "{\"body\": \"abcéf\"}\n").string(),
                    .text_key = "body"};
  const TextCorpus corpus = load_text_corpus(config, 3, 1);
  BOOST_TEST(corpus.train->tokens() == 7 + 2 + 3);
  BOOST_TEST(corpus.validation->tokens() == 5 + 2);
  BOOST_TEST(corpus.tokenizer->vocabulary_size() == 11);  // é of the validation text is in it
  BOOST_TEST(corpus.train->checksum() != corpus.validation->checksum());
  config.tokenizer = "byte";
  BOOST_TEST(load_text_corpus(config, 3, 1).validation->tokens() == 6 + 2);
}

BOOST_AUTO_TEST_CASE(a_column_of_csv_is_as_the_same_texts_in_json_lines) {
  const TemporaryFolder folder;
  DataConfig config{.path = folder.write("x.csv", "id,body\n1,\"abc\ndef\"\n2,gh\n").string(),
                    .validation_path = folder.write("y.csv", "id,body\n3,abcéf\n").string(),
                    .text_key = "body"};
  const TextCorpus csv = load_text_corpus(config, 3, 1);
  config.path = folder.write("x.jsonl", "{\"body\": \"abc\\ndef\"}\n{\"body\": \"gh\"}\n").string();
  config.validation_path = folder.write("y.jsonl", "{\"body\": \"abcéf\"}\n").string();
  const TextCorpus json = load_text_corpus(config, 3, 1);
  BOOST_TEST(csv.train->tokens() == json.train->tokens());
  const std::vector<SampleRef> samples{{0, 0, 0}, {0, 1, 1}};
  BOOST_TEST(values<std::int32_t>(csv.train->collate(samples), "ids") ==
             values<std::int32_t>(json.train->collate(samples), "ids"));
  BOOST_TEST(csv.validation->tokens() == json.validation->tokens());
}

BOOST_AUTO_TEST_CASE(a_context_longer_than_the_text_is_refused) {
  const TemporaryFolder folder;
  DataConfig config{.path = folder.write("x.txt", repeat("a", 50)).string(), .validation_fraction = 0};
  BOOST_TEST(load_text_corpus(config, 49, 1).train->samples_per_epoch() == 1);
  check_throws<DataError>([&] { load_text_corpus(config, 50, 1); },
                          {"model.context = 50", "x.txt", "50 tokens", "Lower model.context"});
  config.validation_fraction = 0.1;
  check_throws<DataError>([&] { load_text_corpus(config, 20, 1); },
                          {"model.context = 20", "validation part", "data.validation_fraction", "5 tokens"});
}

BOOST_AUTO_TEST_CASE(a_run_keeps_its_tokenizer) {
  const TemporaryFolder folder;
  DataConfig config{.path = folder.write("x.txt", repeat("abc", 50)).string()};
  const TextCorpus first = load_text_corpus(config, 4, 1);
  config.path = folder.write("y.txt", repeat("cb\n", 50)).string();
  check_throws<DataError>([&] { load_text_corpus(config, 4, 1, first.tokenizer.get()); },
                          {"y.txt", "line 1", "U+000A", "\"byte\""});
  config.path = folder.write("z.txt", repeat("cb", 50)).string();
  BOOST_TEST(load_text_corpus(config, 4, 1, first.tokenizer.get()).tokenizer->to_json() == first.tokenizer->to_json());
  config.documents = "line";
  check_throws<ConfigError>([&] { load_text_corpus(config, 4, 1, first.tokenizer.get()); }, {"data.documents", "end-of-text"});
  config.tokenizer = "byte";
  check_throws<ConfigError>([&] { load_text_corpus(config, 4, 1, first.tokenizer.get()); }, {"data.tokenizer", "\"char\""});
  check_throws<ConfigError>([&] { load_text_corpus({}, 4, 1); }, {"data.path", "--set"});
}

BOOST_AUTO_TEST_CASE(bpe_needs_a_vocabulary_and_documents_need_its_end_of_text) {
  const TemporaryFolder folder;
  DataConfig config{.path = folder.write("x.txt", repeat("abcd\n", 30)).string(), .documents = "line", .tokenizer = "bpe"};
  check_throws<ConfigError>([&] { load_text_corpus(config, 4, 1); }, {"data.tokenizer = \"bpe\"", "set data.vocabulary"});
  config.vocabulary = folder.path().string();
  check_throws<ConfigError>([&] { load_text_corpus(config, 4, 1); }, {"data.vocabulary", "vocab.json"});
  std::string ids = "{";
  for (int byte = 0; byte < 256; ++byte) {  // in the characters that stand for them; which is which does not matter here
    const auto shown = byte < 33     ? 0x100 + byte
                       : byte < 127  ? byte
                       : byte < 161  ? 0x100 + byte - 94
                       : byte == 173 ? 0x143
                                     : byte;
    ids += '"';
    if (shown == '"' || shown == '\\') ids += '\\';
    append_utf8(ids, static_cast<char32_t>(shown));
    ids += "\": " + std::to_string(byte) + ", ";
  }
  folder.write("vocab.json", ids + "\"ab\": 256}");
  folder.write("merges.txt", "a b\n");
  check_throws<ConfigError>([&] { load_text_corpus(config, 4, 1); }, {"data.documents", "<|endoftext|>"});
  folder.write("vocab.json", ids + "\"ab\": 256, \"<|endoftext|>\": 257}");
  const TextCorpus corpus = load_text_corpus(config, 4, 1);
  BOOST_TEST(corpus.tokenizer->vocabulary_size() == 258);
  BOOST_TEST(corpus.train->tokens() + corpus.validation->tokens() == 30 * 4 + 2);  // ab c d and the separator; one is in both
  config.tokenizer = "byte";
  check_throws<ConfigError>([&] { load_text_corpus(config, 4, 1); }, {"data.vocabulary", "\"bpe\""});
}
