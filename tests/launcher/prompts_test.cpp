// `generate --prompts`: JSON lines in, JSON lines out.
#include <cstdio>
#include <nlohmann/json.hpp>
#include <sstream>

#include "tests/support/tiny_run.h"

namespace tradewind::tests {
namespace {

using nlohmann::json;

struct Prompts : TinyRun {
  Prompts() : TinyRun(TRADEWIND_BINARY) {}
  Outcome ask(const std::string& lines, std::vector<std::string> more = {}) const {
    scratch().write("prompts.jsonl", lines);
    more.insert(more.begin(), {"generate", "run", "--prompts", "prompts.jsonl", "--tokens", "12"});
    return tradewind(more);
  }
};

std::vector<json> lines_of(const std::string& text) {
  std::vector<json> out;
  std::istringstream in(text);
  for (std::string line; std::getline(in, line);) out.push_back(json::parse(line));
  return out;
}

std::string many() {
  std::string out;
  for (int i = 0; i < 20; ++i)
    out += json({{"prompt", std::string("A soft towel of linen").substr(0, 1 + i)}, {"sku", i}, {"tokens", 5 + i % 7}}).dump() +
           "\n";
  return out;
}

BOOST_FIXTURE_TEST_CASE(answers_do_not_depend_on_the_batch_or_on_the_order, Prompts) {
  const Outcome one = ask(many(), {"--batch", "1"});
  BOOST_REQUIRE_MESSAGE(one.code == 0, one);
  const auto answers = lines_of(one.output);
  BOOST_REQUIRE_EQUAL(answers.size(), 20U);
  for (int i = 0; i < 20; ++i) {
    const json& a = answers[static_cast<std::size_t>(i)];
    BOOST_CHECK_MESSAGE(a.at("sku") == i && a.at("generated") == 5 + i % 7 && a.at("end") == "length" &&
                            a.at("text").get<std::string>().size() == static_cast<std::size_t>(5 + i % 7),
                        a);
  }
  for (const char* batch : {"3", "20", "64"}) BOOST_CHECK_EQUAL(ask(many(), {"--batch", batch}).output, one.output);
  BOOST_CHECK_EQUAL(ask(many(), {"--set", "x"}).code, 2);  // no such option here
  std::istringstream in(many());
  std::string reversed;
  for (std::string line; std::getline(in, line);) reversed.insert(0, line + "\n");
  auto backwards = lines_of(ask(reversed).output);
  std::ranges::reverse(backwards);
  BOOST_CHECK(backwards == answers);
  BOOST_CHECK(lines_of(ask(many(), {"--seed", "2"}).output) != answers);
}

BOOST_FIXTURE_TEST_CASE(a_line_says_what_it_wants_and_samples_differ, Prompts) {
  const Outcome o = ask(R"({"prompt": "A soft", "temperature": 0}
{"prompt": "A soft", "temperature": 0, "tokens": 3}

{"prompt": "A soft", "top_k": 1}
)",
                        {"--samples", "2"});
  BOOST_REQUIRE_MESSAGE(o.code == 0, o);
  const auto a = lines_of(o.output);
  BOOST_REQUIRE_EQUAL(a.size(), 6U);
  BOOST_CHECK(a[0].at("sample") == 0 && a[1].at("sample") == 1 && a[0].at("text") == a[1].at("text"));  // greedy
  BOOST_CHECK(a[0].at("text").get<std::string>().starts_with(a[2].at("text").get<std::string>()) && a[2].at("generated") == 3);
  BOOST_CHECK(a[4].at("text") == a[0].at("text"));
  const auto drawn = lines_of(ask("{\"prompt\": \"A soft\"}\n", {"--samples", "3"}).output);
  BOOST_CHECK(drawn[0].at("text") != drawn[1].at("text") && drawn[1].at("text") != drawn[2].at("text"));
  BOOST_CHECK(drawn[0] == [&] {  // the first sample is what a single one is
    auto single = lines_of(ask("{\"prompt\": \"A soft\"}\n").output)[0];
    single["sample"] = 0;
    return single;
  }());
}

BOOST_FIXTURE_TEST_CASE(a_bad_line_is_answered_and_the_others_go_on, Prompts) {
  const Outcome o =
      ask("{\"prompt\": \"A soft\"}\nno json\n{\"text\": 1}\n{\"prompt\": \"A\", \"tokens\": 0}\n{\"prompt\": \"\"}\n"
          "{\"prompt\": \"A \\u20ac\"}\n{\"prompt\": \"A towel\"}\n");
  BOOST_CHECK_EQUAL(o.code, 3);
  const auto a = lines_of(o.output);
  BOOST_REQUIRE_EQUAL(a.size(), 7U);
  BOOST_CHECK(a[0].contains("text") && a[6].contains("text"));
  const std::vector<std::string> wanted{"no JSON", "\"prompt\"", "\"tokens\"", "empty", "U+20AC"};
  for (std::size_t i = 0; i < wanted.size(); ++i)
    BOOST_CHECK_MESSAGE(a[i + 1].at("line") == i + 2 && holds(a[i + 1].at("error"), wanted[i]), a[i + 1]);
  BOOST_CHECK_MESSAGE(holds(o.errors, "5 lines"), o);
  BOOST_CHECK_EQUAL(tradewind({"generate", "run", "--prompts", "nowhere.jsonl"}).code, 3);
  BOOST_CHECK_EQUAL(tradewind({"generate", "run", "--prompts", "prompts.jsonl", "--prompt", "A"}).code, 2);
  BOOST_CHECK_EQUAL(tradewind({"generate", "run", "--prompts", "prompts.jsonl", "--batch", "0"}).code, 2);
}

BOOST_FIXTURE_TEST_CASE(a_pipe_is_answered_as_it_comes, Prompts) {
  // The shell sends the second prompt only when the first is answered: were answers kept back, this would never end.
  scratch().write("talk.sh", R"(set -e
mkfifo to from
timeout 60 "$1" generate run --prompts - --tokens 5 <to >from &
exec 3>to 4<from
for line in '{"prompt": "A soft"}' 'no json' '{"prompt": "A towel"}'; do
  echo "$line" >&3
  read -r -t 60 answer <&4
  echo "$answer"
done
exec 3>&-
wait || true
)");
  const Outcome o = Command({"/bin/bash", "talk.sh", TRADEWIND_BINARY}, scratch().path()).wait();
  BOOST_REQUIRE_MESSAGE(o.code == 0, o);
  const auto answers = lines_of(o.output);
  BOOST_REQUIRE_EQUAL(answers.size(), 3U);
  BOOST_CHECK(answers[1].at("line") == 2 && answers[2].at("prompt") == "A towel" && answers[2].at("generated") == 5);
}

}  // namespace
}  // namespace tradewind::tests
