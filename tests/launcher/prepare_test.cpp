// A prepared text is the text: the same samples and losses, whatever happened while it was being prepared.
#include <algorithm>
#include <boost/test/unit_test.hpp>
#include <iostream>
#include <map>
#include <nlohmann/json.hpp>
#include <random>
#include <set>
#include <sstream>

#include "kernels/base/error.h"
#include "runtime/data/prepare.h"
#include "runtime/data/prepared_file.h"
#include "runtime/data/product_copy.h"
#include "tests/support/command.h"
#include "tests/support/temporary_folder.h"
#include "tests/support/throws.h"
#include "tests/support/tiny_run.h"

namespace tradewind::tests {
namespace {

namespace fs = std::filesystem;

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
constexpr bool kSanitized = true;
#else
constexpr bool kSanitized = false;
#endif

constexpr int kDied = 77;  // what fault_preload.cpp ends a process with

class Shop {
 public:
  Shop() {
    ::setenv("GOMP_SPINCOUNT", "1000", 0);
    scratch_.write("tiny.toml", kTinyConfig);
    scratch_.write("text.txt", runtime::product_copy(1, 60));
  }
  const fs::path& path() const { return scratch_.path(); }
  fs::path operator/(const std::string& name) const { return path() / name; }
  void write(const std::string& name, const std::string& text) const { scratch_.write(name, text); }

  Outcome run(const std::string& verb, const std::vector<std::string>& settings, const std::vector<std::string>& more = {},
              std::uint64_t file_bytes = 0) const {
    std::vector<std::string> command = {TRADEWIND_BINARY, verb, "tiny.toml"};
    for (const std::string& setting : settings) command.insert(command.end(), {"--set", setting});
    command.insert(command.end(), more.begin(), more.end());
    return Command(command, path(), "C.UTF-8", file_bytes).wait();
  }
  Outcome prepare(const std::vector<std::string>& settings, std::vector<std::string> more = {},
                  std::uint64_t file_bytes = 0) const {
    more.insert(more.end(), {"--to", "data.h5"});
    return run("prepare", settings, more, file_bytes);
  }
  /// What a run learned: every loss to the last bit.
  std::vector<std::string> losses(const std::string& run) const {
    std::vector<std::string> out;
    std::istringstream lines(text_of(path() / run / "metrics.jsonl"));
    for (std::string line; std::getline(lines, line);) {
      const auto json = nlohmann::json::parse(line);
      std::string kept = json.at("step").dump();
      for (const char* key : {"loss", "validation_loss", "bits_per_byte", "gradient_norm"})
        if (json.contains(key)) kept += std::string(" ") + key + " " + json.at(key).dump();
      out.push_back(kept);
    }
    return out;
  }

 private:
  TemporaryFolder scratch_;
};

void check_done(const Outcome& outcome) { BOOST_REQUIRE_MESSAGE(outcome.code == 0, outcome); }

void check_refused(const Outcome& outcome, int code, const std::vector<std::string>& parts) {
  BOOST_CHECK_MESSAGE(outcome.code == code && outcome.errors.starts_with("error: "), outcome);
  for (const std::string& part : parts) BOOST_CHECK_MESSAGE(holds(outcome.errors, part), part << " is not in: " << outcome);
}

std::vector<std::string> with(std::vector<std::string> settings, const std::string& one) {
  settings.push_back(one);
  return settings;
}

std::vector<std::string> with_fault(const std::vector<std::string>& command, const std::string& mode, std::size_t at,
                                    const fs::path& count = {}) {
  const std::string library = TRADEWIND_FAULT_LIBRARY;
  std::vector<std::string> out = {"/usr/bin/env", "LD_PRELOAD=" + library, "TRADEWIND_FAULT_IN=/out/",
                                  "TRADEWIND_FAULT_MODE=" + mode, "TRADEWIND_FAULT_AT=" + std::to_string(at)};
  if (!count.empty()) out.push_back("TRADEWIND_FAULT_COUNT=" + count.string());
  out.insert(out.end(), command.begin(), command.end());
  return out;
}

/// A folder that prepare_once prepares.
struct Corpus {
  Corpus(std::string kind, int documents) : tokenizer(std::move(kind)) {
    scratch.write("text.txt", runtime::product_copy(1, documents));
    scratch.write("other.txt", runtime::product_copy(2, 5));
  }
  std::vector<std::string> command() const { return {TRADEWIND_PREPARE_ONCE, scratch.path().string(), tokenizer}; }
  fs::path out() const { return scratch.path() / "out"; }
  std::string result() const { return text_of(out() / "data.h5"); }
  Outcome run(const std::vector<std::string>& what) const { return Command(what, scratch.path()).wait(); }
  TemporaryFolder scratch;
  std::string tokenizer;
};

void prepare_with_faults(const std::string& tokenizer) {
  const Corpus corpus(tokenizer, 12);
  const fs::path count = corpus.scratch.path() / "calls.txt";
  check_done(corpus.run(with_fault(corpus.command(), "exit", 0, count)));
  std::vector<std::string> calls;
  std::istringstream lines(text_of(count));
  for (std::string line; std::getline(lines, line);) calls.push_back(line);
  BOOST_REQUIRE_GT(calls.size(), 40U);
  const std::string expected = corpus.result();
  for (const std::string mode : {"exit", "power", "eio", "enospc", "short"}) {
    int failed = 0;
    for (std::size_t k = 1; k <= calls.size(); ++k) {
      const std::string what = tokenizer + ", " + mode + " at call " + std::to_string(k) + ", " + calls[k - 1];
      fs::remove_all(corpus.out());
      const Outcome outcome = corpus.run(with_fault(corpus.command(), mode, k));
      if (mode == "exit" || mode == "power") {
        BOOST_REQUIRE_MESSAGE(outcome.code == kDied, what << ": " << outcome);
      } else if (mode == "short") {
        BOOST_REQUIRE_MESSAGE(outcome.code == 0, what << ": " << outcome);
      } else if (outcome.code != 0) {
        const bool why = holds(outcome.errors, mode == "eio" ? "Input/output error" : "No space left");
        BOOST_REQUIRE_MESSAGE(outcome.code == 3 && why, what << ": " << outcome);
        ++failed;
      }
      if (fs::exists(corpus.out() / "data.h5"))
        BOOST_REQUIRE_MESSAGE(corpus.result() == expected, what << ": what has the name is not whole");
      const Outcome next = corpus.run(corpus.command());
      BOOST_REQUIRE_MESSAGE(next.code == 0, what << ", then: " << next);
      BOOST_REQUIRE_MESSAGE(corpus.result() == expected, what << ": another file in the end");
      BOOST_REQUIRE_MESSAGE(!fs::exists(corpus.out() / "data.h5.unfinished"), what);
    }
    if (mode == "eio" || mode == "enospc") BOOST_CHECK_GT(failed, 20);
    std::cout << tokenizer << ", " << mode << ": " << calls.size() << " calls, " << failed << " failed\n";
  }
}

}  // namespace

BOOST_AUTO_TEST_CASE(training_on_a_prepared_file_gives_the_losses_of_the_text_to_the_bit) {
  const Shop shop;
  shop.write("lines.jsonl", R"({"text": "a soft towel"})"
                            "\n"
                            R"({"text": ""})"
                            "\n"
                            R"({"text": "two lines\nof linen, é"})"
                            "\n"
                            R"({"text": "a third one, which is longer than the others are"})"
                            "\n");
  shop.write("other.txt", runtime::product_copy(2, 20));
  std::string ids = "{", merges;
  for (int byte = 0; byte < 256; ++byte) {  // GPT-2's characters for bytes
    const int shown = byte < 33     ? 0x100 + byte
                      : byte < 127  ? byte
                      : byte < 161  ? 0x100 + byte - 94
                      : byte == 173 ? 0x143
                                    : byte;
    std::string text;
    if (shown >= 0x80) text += static_cast<char>(0xC0 | (shown >> 6));
    text += static_cast<char>(shown >= 0x80 ? 0x80 | (shown & 0x3F) : shown);
    ids += nlohmann::json(text).dump() + ": " + std::to_string(byte) + ", ";
  }
  fs::create_directory(shop / "vocabulary");
  shop.write("vocabulary/vocab.json", ids + R"("to": 256, "we": 257, "towe": 258, "<|endoftext|>": 259})");
  shop.write("vocabulary/merges.txt", "#version: 0.2\nt o\nw e\nto we\n");
  const std::vector<std::vector<std::string>> recipes = {
      {"data.tokenizer=char"},
      {"data.tokenizer=char", "data.documents=blank_line", "data.validation_path=other.txt"},
      {"data.tokenizer=byte", "data.documents=line"},
      {"data.tokenizer=bpe", "data.vocabulary=vocabulary"},
      {"data.tokenizer=bpe", "data.vocabulary=vocabulary", "data.documents=blank_line"},
      {"data.tokenizer=char", "data.path=lines.jsonl"}};
  for (const auto& recipe : recipes) BOOST_TEST_CONTEXT(recipe.back()) {
      check_done(shop.run("train", with(recipe, "run.directory=of-text")));
      check_done(shop.prepare(recipe));
      const Outcome trained = shop.run("train", with(with(recipe, "run.directory=of-file"), "data.prepared=data.h5"));
      check_done(trained);
      BOOST_TEST(holds(trained.output, "data.h5: "), trained);
      const auto expected = shop.losses("of-text");
      BOOST_TEST(expected.size() >= 12U + 4U);
      BOOST_TEST(shop.losses("of-file") == expected, boost::test_tools::per_element());
      check_done(shop.run("train", with(with(recipe, "run.directory=of-both"), "train.steps=6")));
      fs::remove_all(shop / "of-text");
      fs::remove_all(shop / "of-file");
      fs::remove_all(shop / "of-both");
      fs::remove(shop / "data.h5");
    }
}

BOOST_AUTO_TEST_CASE(a_vocabulary_of_ones_own_is_trained_and_goes_into_run_and_export) {
  const Shop shop;
  const std::vector<std::string> recipe = {"data.tokenizer=bpe", "data.documents=blank_line", "run.directory=run"};
  check_refused(shop.prepare(recipe), 2, {"data.vocabulary", "--vocabulary-size"});
  check_refused(shop.prepare(recipe, {"--vocabulary-size", "256"}), 2, {"256 tokens", "end-of-text"});
  check_refused(shop.prepare({}, {"--vocabulary-size", "300"}), 2, {"--vocabulary-size", "\"char\""});
  const Outcome prepared = shop.prepare(recipe, {"--vocabulary-size", "400"});
  check_done(prepared);
  BOOST_TEST(holds(prepared.output, "tokenizer bpe, vocabulary 400"), prepared);
  check_refused(shop.run("train", recipe), 2, {"data.vocabulary", "prepare --vocabulary-size"});
  check_done(shop.run("train", with(recipe, "data.prepared=data.h5")));
  const Outcome text = Command({TRADEWIND_BINARY, "generate", "run", "--prompt", "Soft", "--tokens", "20"}, shop.path()).wait();
  check_done(text);
  BOOST_TEST(text.output.starts_with("Soft"), text);
  check_done(Command({TRADEWIND_BINARY, "export", "run", "--to", "model.h5"}, shop.path()).wait());
  const Outcome seen = Command({TRADEWIND_BINARY, "inspect", "model.h5", "--json"}, shop.path()).wait();
  const auto tokenizer =
      nlohmann::json::parse(nlohmann::json::parse(seen.output)["attributes"]["tokenizer"].get<std::string>());
  BOOST_TEST(tokenizer == runtime::PreparedFile(shop / "data.h5").tokenizer());
}

BOOST_AUTO_TEST_CASE(what_is_done_is_not_done_again_and_what_changed_is_refused) {
  const Shop shop;
  check_done(shop.prepare({}));
  const std::string first = text_of(shop / "data.h5");
  const Outcome again = shop.prepare({});
  check_done(again);
  BOOST_TEST(holds(again.output, "is prepared already"), again);
  fs::last_write_time(shop / "text.txt", fs::file_time_type::clock::now() + std::chrono::hours(1));
  BOOST_TEST(holds(shop.prepare({}).output, "is prepared already"));  // the contents are the same
  check_refused(shop.prepare({"data.tokenizer=byte"}), 3,
                {"data.h5", "data.tokenizer was \"char\" and is \"byte\"", "--fresh"});
  std::string text = text_of(shop / "text.txt");
  std::swap(text[10], text[11]);
  shop.write("text.txt", text);
  fs::last_write_time(shop / "text.txt", fs::file_time_type::clock::now() + std::chrono::hours(2));
  check_refused(shop.prepare({}), 3, {"text.txt has changed", "data.h5", "--fresh"});
  shop.write("text.txt", text + "more");
  check_refused(shop.prepare({}), 3, {"data.path (bytes) was", "--fresh"});
  BOOST_TEST(text_of(shop / "data.h5") == first);
  check_refused(shop.run("train", {"data.prepared=data.h5"}), 3, {"text.txt has", "data.h5", "--fresh"});
  check_done(shop.prepare({"data.tokenizer=byte"}, {"--fresh"}));
  BOOST_TEST(holds(shop.prepare({"data.tokenizer=byte"}).output, "is prepared already"));
  shop.write("data.h5", "something else");
  check_refused(shop.prepare({}, {"--fresh"}), 3, {"data.h5", "no prepared data set", "--to"});
  BOOST_TEST(text_of(shop / "data.h5") == "something else");
  check_refused(shop.run("prepare", {}), 2, {"--to", "data.prepared"});
  fs::remove(shop / "text.txt");
  fs::remove(shop / "data.h5");
  shop.write("data.h5", first);
  check_refused(shop.prepare({}), 3, {"data.path", "text.txt\" cannot be opened: No such file"});
}

BOOST_AUTO_TEST_CASE(a_file_that_was_prepared_otherwise_is_not_trained_on) {
  const Shop shop;
  check_done(shop.prepare({"data.documents=blank_line"}));
  const auto refuse = [&](std::vector<std::string> settings, int code, const std::vector<std::string>& parts) {
    settings.emplace_back("data.prepared=data.h5");
    check_refused(shop.run("train", settings), code, parts);
  };
  refuse({}, 2, {"data.documents = \"whole\"", "data.h5", "data.documents = \"blank_line\"", "Set it back"});
  refuse({"data.documents=blank_line", "data.tokenizer=byte"}, 2, {"data.tokenizer = \"byte\"", "\"char\""});
  refuse({"data.documents=blank_line", "data.format=jsonl"}, 2, {"data.h5", "JSON lines", "data.format = \"text\""});
  refuse({"data.documents=blank_line", "data.path=else.txt"}, 2, {"data.path = \"else.txt\"", "text.txt"});
  refuse({"data.documents=blank_line", "data.validation_path=text.txt"}, 2, {"without data.validation_path"});
  check_done(shop.run("train", {"data.documents=blank_line", "data.prepared=data.h5"}));
  fs::remove(shop / "text.txt");  // the file is enough
  check_done(shop.run("train", {"data.documents=blank_line", "data.prepared=data.h5", "run.directory=again"}));
  check_refused(shop.run("train", {"run.directory=new", "data.path=data.h5"}), 2,
                {"data.h5", "prepared file", "data.prepared"});
  check_refused(shop.run("train", {"run.directory=new", "data.prepared=none.h5"}), 3, {"none.h5", "No such file", "prepare"});
  check_refused(shop.run("train", {"run.directory=new", "data.prepared=tiny.toml"}), 3, {"tiny.toml"});
  check_done(Command({TRADEWIND_BINARY, "export", "run", "--to", "model.h5"}, shop.path()).wait());
  check_refused(shop.run("train", {"run.directory=new", "data.prepared=model.h5"}), 3,
                {"model.h5", "no file that `tradewind prepare` has written"});
}

BOOST_AUTO_TEST_CASE(a_damaged_or_truncated_file_is_refused_by_name) {
  const Shop shop;
  check_done(shop.prepare({"data.documents=blank_line"}));
  const std::string whole = text_of(shop / "data.h5");
  const runtime::PreparedFile good(shop / "data.h5");
  std::mt19937 random(1);
  int refused = 0, harmless = 0;  // the zeros behind the line of the user block
  for (int round = 0; round < 600; ++round) {
    std::string bytes = whole;
    // Half of them among the structures at the beginning.
    const std::size_t at = random() % (round % 2 == 0 ? std::min<std::size_t>(8192, whole.size()) : whole.size());
    bytes[at] = static_cast<char>(bytes[at] ^ (1 << random() % 8));
    shop.write("bad.h5", bytes);
    try {
      const runtime::PreparedFile file(shop / "bad.h5");
      ++harmless;
      BOOST_REQUIRE_LT(at, 4096U);
      BOOST_REQUIRE(file.tokenizer() == good.tokenizer() && file.description() == good.description());
    } catch (const DataError& e) {
      ++refused;
      BOOST_REQUIRE_MESSAGE(holds(e.what(), "bad.h5"), e.what());
    }
  }
  BOOST_TEST(refused > 300);
  std::cout << "one bit changed: " << refused << " refused, " << harmless << " of no meaning\n";
  for (std::size_t size : {std::size_t{0}, std::size_t{7}, std::size_t{100}, whole.size() / 2, whole.size() - 1}) {
    shop.write("bad.h5", whole.substr(0, size));
    check_throws<DataError>([&] { runtime::PreparedFile(shop / "bad.h5"); }, {"bad.h5"});
  }
  shop.write("data.h5", whole.substr(0, whole.size() / 2));
  check_refused(shop.run("train", {"data.documents=blank_line", "data.prepared=data.h5"}), 3, {"data.h5", "--fresh"});
}

BOOST_AUTO_TEST_CASE(others_read_the_file_and_inspect_says_what_it_is) {
  const Shop shop;
  check_done(shop.prepare({"data.tokenizer=byte", "data.documents=blank_line"}));
  const Outcome python = Command({"/usr/bin/python3", "-c", R"(
import h5py, json
f = h5py.File("data.h5")
assert f.attrs["format"] == "tradewind-prepared", f.attrs["format"]
text = open("text.txt", "rb").read().strip().split(b"\n\n")
tokens, documents = f["training/tokens"][:], f["training/documents"][:]
assert tokens.dtype == "uint16" and len(documents) == len(text) == 60
for i, document in enumerate(text):
    begin = documents[i]
    assert tokens[begin] == 256 and bytes(tokens[begin + 1:begin + 1 + len(document)].tolist()) == document
assert json.loads(bytes(f["tokenizer"][:])) == {"type": "byte"}
assert json.loads(bytes(f["description"][:]))["sources"][0]["documents"] == 60
print("read")
)"},
                                 shop.path())
                             .wait();
  BOOST_TEST(python.output == "read\n", python);
  const Outcome seen = Command({TRADEWIND_BINARY, "inspect", "data.h5"}, shop.path()).wait();
  check_done(seen);
  for (const char* part :
       {"data.h5, a prepared text", "60 documents", "tokenizer byte", "training: ", "/training/tokens", "uint16"})
    BOOST_TEST(holds(seen.output, part), part << " is not in " << seen);
  flip(shop / "data.h5");
  check_refused(Command({TRADEWIND_BINARY, "inspect", "data.h5", "--json"}, shop.path()).wait(), 3, {"data.h5", "damaged"});
}

BOOST_AUTO_TEST_CASE(a_full_disk_ends_it_and_room_lets_it_go_on) {
  const Shop shop;
  shop.write("text.txt", runtime::product_copy(1, 600));
  check_done(shop.prepare({}));
  const std::string expected = text_of(shop / "data.h5");
  fs::remove(shop / "data.h5");
  for (const std::uint64_t room : {0x1000UL, 0x8000UL, 0x20000UL}) {
    check_refused(shop.prepare({}, {}, room), 3, {"File too large", "data.h5.unfinished", "bytes are free", "same command"});
    BOOST_TEST(!fs::exists(shop / "data.h5"));
  }
  check_done(shop.prepare({}));
  BOOST_TEST((text_of(shop / "data.h5") == expected));
}

BOOST_AUTO_TEST_CASE(preparing_that_dies_or_fails_at_any_call_goes_on_to_the_same_file) {
  if (kSanitized) {
    std::cout << "SKIPPED launcher/prepare_test: a sanitizer wants to be the first library\n";
    return;
  }
  if (::access("/dev/shm", W_OK) == 0) ::setenv("TMPDIR", "/dev/shm", 0);
  for (const std::string tokenizer : {"char", "bpe"}) prepare_with_faults(tokenizer);
}

BOOST_AUTO_TEST_CASE(preparing_that_is_killed_again_and_again_gets_there) {
  const Corpus corpus("bpe", 4000);
  check_done(corpus.run(corpus.command()));
  const std::string expected = corpus.result();
  fs::remove_all(corpus.out());
  std::mt19937 random(4);
  int killed = 0;
  for (;; ++killed) {
    BOOST_REQUIRE_LT(killed, 500);
    Command command(corpus.command(), corpus.scratch.path());
    if (command.ends_within(0.02 + 0.001 * static_cast<double>(killed + static_cast<int>(random() % 40)))) {
      check_done(command.wait());
      break;
    }
    command.signal(SIGKILL);
    command.wait();
  }
  std::cout << "killed " << killed << " times\n";
  BOOST_TEST((corpus.result() == expected));
}

BOOST_AUTO_TEST_CASE(two_at_once_do_not_mix) {
  const Corpus corpus("bpe", 3000);
  Command first(corpus.command(), corpus.scratch.path());
  const fs::path journal = corpus.out() / "data.h5.unfinished" / "journal.jsonl";
  for (int i = 0; i < 2000 && !fs::exists(journal); ++i) std::this_thread::sleep_for(std::chrono::milliseconds(1));
  const Outcome second = Command(corpus.command(), corpus.out()).wait();
  if (first.running()) check_refused(second, 3, {"another process is preparing"});
  check_done(first.wait());
}

}  // namespace tradewind::tests
