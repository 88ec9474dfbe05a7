#include "runtime/data/reader.h"

#include <lzma.h>
#include <xxhash.h>
#include <zlib.h>
#include <zstd.h>

#include <boost/test/unit_test.hpp>
#include <functional>
#include <nlohmann/json.hpp>
#include <random>

#include "kernels/base/error.h"
#include "runtime/data/byte_stream.h"
#include "runtime/text/pre_tokenizer.h"
#include "runtime/text/utf8.h"
#include "tests/support/temporary_folder.h"
#include "tests/support/throws.h"

using namespace tradewind;
using namespace tradewind::runtime;
using tests::check_throws;
using tests::TemporaryFolder;

namespace {

std::string gzip(const std::string& text) {
  z_stream z{};
  deflateInit2(&z, 6, Z_DEFLATED, 15 + 16, 8, Z_DEFAULT_STRATEGY);
  std::string out(deflateBound(&z, text.size()) + 64, '\0');
  z.next_in = reinterpret_cast<Bytef*>(const_cast<char*>(text.data()));
  z.avail_in = static_cast<uInt>(text.size());
  z.next_out = reinterpret_cast<Bytef*>(out.data());
  z.avail_out = static_cast<uInt>(out.size());
  deflate(&z, Z_FINISH);
  out.resize(z.total_out);
  deflateEnd(&z);
  return out;
}

std::string zstd(const std::string& text) {
  std::string out(ZSTD_compressBound(text.size()), '\0');
  ZSTD_CCtx* context = ZSTD_createCCtx();
  ZSTD_CCtx_setParameter(context, ZSTD_c_checksumFlag, 1);  // as the zstd program does
  out.resize(ZSTD_compress2(context, out.data(), out.size(), text.data(), text.size()));
  ZSTD_freeCCtx(context);
  return out;
}

std::string xz(const std::string& text) {
  std::string out(lzma_stream_buffer_bound(text.size()), '\0');
  std::size_t size = 0;
  lzma_easy_buffer_encode(6, LZMA_CHECK_CRC64, nullptr, reinterpret_cast<const std::uint8_t*>(text.data()), text.size(),
                          reinterpret_cast<std::uint8_t*>(out.data()), &size, out.size());
  out.resize(size);
  return out;
}

struct Codec {
  std::string name;
  std::function<std::string(const std::string&)> compress;
};
const std::vector<Codec> kCodecs{{"gzip", gzip}, {"zstd", zstd}, {"xz", xz}};

/// Text that does not compress to nothing, so that cutting it short cuts data.
std::string noise(std::size_t bytes) {
  std::string text;
  std::uint32_t state = 1;
  while (text.size() < bytes) {
    state = state * 1664525U + 1013904223U;
    text += static_cast<char>('a' + (state >> 24) % 26);
    if ((state >> 20) % 61 == 0) text += "é\n";
  }
  return text;
}

std::vector<std::string> documents_of(const Documents& documents) {
  std::vector<std::string> out;
  for (std::size_t i = 0; i < documents.entries.size(); ++i) out.emplace_back(documents[i]);
  return out;
}

std::vector<std::string> cut(const std::string& text, DocumentCut how) {
  const TemporaryFolder folder;
  return documents_of(read_documents(folder.write("x.txt", text), {.cut = how}));
}

using Strings = std::vector<std::string>;

}  // namespace

BOOST_AUTO_TEST_CASE(archives_hold_the_same_text_whatever_their_name) {
  const TemporaryFolder folder;
  const std::string text = noise(3'000'000);
  const Documents plain = read_documents(folder.write("plain.gz", text), {});  // the name lies
  BOOST_TEST((plain.text == text));
  BOOST_TEST(plain.compression == "");
  BOOST_TEST(plain.checksum == XXH3_64bits(text.data(), text.size()));
  for (const auto& [name, compress] : kCodecs) {
    const Documents one = read_documents(folder.write("one", compress(text)), {});
    BOOST_TEST((one.text == text));
    BOOST_TEST(one.compression == name);
    BOOST_TEST(one.checksum == plain.checksum);
    // Two members, the first ending in the middle of a character.
    const std::size_t half = text.find("é", 1'000'000) + 1;
    const Documents two = read_documents(folder.write("two", compress(text.substr(0, half)) + compress(text.substr(half))), {});
    BOOST_TEST((two.text == text));
  }
}

BOOST_AUTO_TEST_CASE(a_truncated_archive_is_refused_wherever_it_ends) {
  const TemporaryFolder folder;
  for (const auto& [name, compress] : kCodecs) {
    const std::string archive = compress(noise(2000));
    for (std::size_t size = 7; size < archive.size(); size += size < 40 || size + 40 > archive.size() ? 1 : 37) {
      const auto file = folder.write("short." + name, archive.substr(0, size));
      check_throws<DataError>([&] { read_documents(file, {}); }, {file.string(), name, "truncated"});
    }
  }
}

BOOST_AUTO_TEST_CASE(a_corrupt_archive_is_refused) {
  const TemporaryFolder folder;
  const std::string text = noise(100'000);
  for (const auto& [name, compress] : kCodecs) {
    const std::string archive = compress(text);
    for (std::size_t at = archive.size() / 3; at < archive.size(); at += archive.size() / 50) {
      std::string broken = archive;
      broken[at] = static_cast<char>(broken[at] ^ 0x10);
      const auto file = folder.write("broken", broken);
      check_throws<DataError>([&] { read_documents(file, {}); }, {file.string(), name});
    }
    const auto file = folder.write("tail", archive + "tail");
    check_throws<DataError>([&] { read_documents(file, {}); }, {file.string(), name});
  }
}

BOOST_AUTO_TEST_CASE(files_that_are_not_there_or_empty_say_so) {
  const TemporaryFolder folder;
  check_throws<DataError>([&] { read_documents(folder.path() / "none.txt", {.path_key = "data.validation_path"}); },
                          {"data.validation_path", "none.txt", "No such file", "--set"});
  check_throws<DataError>([&] { read_documents(folder.path(), {}); }, {folder.path().string(), "folder"});
  check_throws<DataError>([&] { read_documents(folder.write("empty.txt", ""), {}); }, {"empty.txt", "is empty"});
  check_throws<DataError>([&] { read_documents(folder.write("empty.jsonl", ""), {.format = TextFormat::kJsonLines}); },
                          {"is empty"});
  check_throws<DataError>([&] { read_documents(folder.write("empty.gz", gzip("")), {}); }, {"empty.gz", "is empty"});
  check_throws<DataError>([&] { read_documents(folder.write("blank.txt", " \n\n\t\n"), {.cut = DocumentCut::kLine}); },
                          {"blank.txt", "no text"});
}

BOOST_AUTO_TEST_CASE(invalid_utf8_is_named_with_file_line_and_byte) {
  const TemporaryFolder folder;
  const auto file = folder.write("latin.txt", "first\nsecond é\nthird caf\xE9 x\n");
  check_throws<DataError>([&] { read_documents(file, {}); }, {file.string() + ":3:10", "0xE9", "byte 25", "iconv"});
  const auto lines = folder.write("latin.jsonl", "{\"text\": \"a\"}\n{\"text\": \"\xE9\"}\n");
  check_throws<DataError>([&] { read_documents(lines, {.format = TextFormat::kJsonLines}); },
                          {lines.string() + ":2:11", "0xE9", "byte 24"});
  check_throws<DataError>([&] { read_documents(folder.write("cut.txt", "ends in \xE2\x82"), {}); }, {"cut.txt:1:9", "0xE2"});
  check_throws<DataError>(
      [&] {
        read_documents(folder.write("wide.txt", std::string_view("\xFF\xFE"
                                                                 "a\0",
                                                                 4)),
                       {});
      },
      {"UTF-16", "iconv"});
}

BOOST_AUTO_TEST_CASE(a_byte_order_mark_is_dropped) {
  const TemporaryFolder folder;
  BOOST_TEST((cut("\xEF\xBB\xBF"
                  "abc",
                  DocumentCut::kWhole) == Strings{"abc"}));
  const auto lines = folder.write("x.jsonl", "\xEF\xBB\xBF{\"text\": \"a\"}\r\n");
  BOOST_TEST((documents_of(read_documents(lines, {.format = TextFormat::kJsonLines})) == Strings{"a"}));
}

BOOST_AUTO_TEST_CASE(text_is_cut_as_asked) {
  const std::string text = "one\ntwo\r\n\n  \nthree\nfour\n\n\nfive";
  BOOST_TEST((cut(text, DocumentCut::kWhole) == Strings{text}));
  BOOST_TEST((cut(text, DocumentCut::kLine) == Strings{"one", "two", "three", "four", "five"}));
  BOOST_TEST((cut(text, DocumentCut::kBlankLine) == Strings{"one\ntwo", "three\nfour", "five"}));
  BOOST_TEST((cut("\n\na\n", DocumentCut::kBlankLine) == Strings{"a"}));
  const TemporaryFolder folder;
  const Documents documents = read_documents(folder.write("x.txt", text), {.cut = DocumentCut::kBlankLine});
  BOOST_TEST(documents.entries[1].line == 5);
  BOOST_TEST(documents.entries[2].line == 9);
}

BOOST_AUTO_TEST_CASE(json_lines_give_the_text_of_each_line) {
  const TemporaryFolder folder;
  std::string text;
  Strings expected;
  for (int i = 0; i < 20'000; ++i) {  // longer than a chunk
    expected.push_back("document " + std::to_string(i) + std::string(static_cast<std::size_t>(i % 200), 'x'));
    text += "{\"id\": " + std::to_string(i) + ", \"body\": \"" + expected.back() + "\"}\n";
  }
  expected.push_back("é € \n \"quoted\"");
  text += R"({"body": "\u00e9 € \n \"quoted\""})"
          "\n\n"
          R"({"body": ""})";  // no newline at the end
  const Documents documents =
      read_documents(folder.write("x.jsonl", text), {.format = TextFormat::kJsonLines, .text_key = "body"});
  BOOST_TEST((documents_of(documents) == expected));
  BOOST_TEST(documents.entries[19'999].line == 20'000);
  BOOST_TEST(documents.checksum == XXH3_64bits(text.data(), text.size()));
}

BOOST_AUTO_TEST_CASE(a_bad_json_line_is_named) {
  const TemporaryFolder folder;
  const auto refuse = [&](const std::string& second, const Strings& parts) {
    const auto file = folder.write("x.jsonl", "{\"text\": \"fine\"}\n" + second + "\n");
    Strings all = parts;
    all.push_back(file.string() + ":2");
    check_throws<DataError>([&] { read_documents(file, {.format = TextFormat::kJsonLines}); }, all);
  };
  refuse(R"({"text": "a)", {"not valid JSON"});
  refuse("plain text", {"not valid JSON", "data.format"});
  refuse("[1, 2]", {"array", "object"});
  refuse(R"({"texts": "a", "id": 3})", {"no key \"text\"", "id, texts", "data.text_key"});
  refuse(R"({"text": 3})", {"number", "string"});
  refuse(R"({"text": "\ud800"})", {"not valid JSON"});  // half a surrogate pair
}

BOOST_AUTO_TEST_CASE(a_format_is_known_by_name) {
  for (const char* name : {"a.jsonl", "a.ndjson", "b/a.jsonl.gz", "a.jsonl.zst", "a.ndjson.xz"})
    BOOST_TEST((format_of_name(name) == TextFormat::kJsonLines));
  for (const char* name : {"a.csv", "a.tsv", "b/a.csv.gz"}) BOOST_TEST((format_of_name(name) == TextFormat::kCsv));
  for (const char* name : {"a.txt", "jsonl", "a.jsonl.txt", "a.gz", "a.json", "csv"})
    BOOST_TEST((format_of_name(name) == TextFormat::kText));
}

BOOST_AUTO_TEST_CASE(pieces_of_any_size_give_the_documents_of_the_whole) {
  const TemporaryFolder folder;
  std::mt19937 random(23);
  const Strings parts = {"a", "bc", " ", "\n", "\n", "\r\n", "\r", "\n\n", "\t", "é", "中", "long word", " \n "};
  int pieces = 0;
  for (int round = 0; round < 400; ++round) {
    std::string text = round % 7 == 0 ? "\xEF\xBB\xBF" : "";
    for (unsigned i = 0, n = 1 + random() % 60; i < n; ++i) text += parts[random() % parts.size()];
    text += 'x';
    const auto file = folder.write("x.txt", text);
    for (const DocumentCut cut : {DocumentCut::kWhole, DocumentCut::kLine, DocumentCut::kBlankLine}) {
      const Documents whole = read_documents(file, {.cut = cut});
      for (const bool words : {false, true}) {
        const std::size_t size = 1 + random() % 20;
        const DocumentStream::Cut where = words ? last_word_boundary : whole_characters;
        auto stream = std::make_unique<DocumentStream>(file, ReadOptions{.cut = cut}, size, where);
        Strings documents;
        std::vector<std::int64_t> lines;
        for (TextPiece piece; stream->next(piece); ++pieces) {
          for (const auto& segment : piece.segments) {
            if (segment.begins_document) documents.emplace_back(), lines.push_back(segment.line);
            documents.back() += piece[segment];
            BOOST_TEST(!piece[segment].empty());
          }
          if (random() % 3 != 0) continue;  // as a process that was killed and began again
          const auto position = stream->position();
          stream = std::make_unique<DocumentStream>(file, ReadOptions{.cut = cut}, size, where);
          BOOST_REQUIRE(stream->skip_to(position));
        }
        BOOST_TEST_CONTEXT(nlohmann::json(text).dump() << " in pieces of " << size) {
          BOOST_REQUIRE(documents == documents_of(whole));
          for (std::size_t i = 0; i < lines.size(); ++i) BOOST_REQUIRE(lines[i] == whole.entries[i].line);
          BOOST_REQUIRE(stream->position().checksum == whole.checksum);
          BOOST_REQUIRE(stream->position().bytes == text.size());
        }
      }
    }
  }
  BOOST_TEST(pieces > 4000);
}

BOOST_AUTO_TEST_CASE(a_stream_does_not_go_on_in_another_text) {
  const TemporaryFolder folder;
  const auto file = folder.write("x.txt", "one\ntwo\nthree\n");
  const auto open = [&] { return DocumentStream(file, {.cut = DocumentCut::kLine}, 5, whole_characters); };
  DocumentStream stream = open();
  TextPiece piece;
  BOOST_REQUIRE(stream.next(piece));
  const auto position = stream.position();
  BOOST_TEST(open().skip_to(position));
  folder.write("x.txt", "eno\ntwo\nthree\n");
  BOOST_TEST(!open().skip_to(position));
  folder.write("x.txt", "on");
  BOOST_TEST(!open().skip_to(position));
}

BOOST_AUTO_TEST_CASE(invalid_utf8_in_a_later_piece_is_named_as_in_a_whole_file) {
  const TemporaryFolder folder;
  const auto file = folder.write("x.txt", "first line\nsecond line, which is \xE9 longer\n");
  DocumentStream stream(file, {}, 3, last_word_boundary);
  check_throws<DataError>(
      [&] {
        for (TextPiece piece; stream.next(piece);) continue;
      },
      {file.string() + ":2:23", "0xE9", "byte 33"});
}
