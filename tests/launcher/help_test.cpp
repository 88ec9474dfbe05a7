// Help, completion and manual page say the same, and say all that the parsers take.
#include <algorithm>
#include <boost/test/unit_test.hpp>
#include <set>

#include "launcher/completion.h"
#include "launcher/help.h"
#include "models/registry.h"

namespace tradewind::launcher {
namespace {

bool holds(const std::string& text, const std::string& part) { return text.find(part) != std::string::npos; }

const std::vector<VerbHelp>& all() {
  static const auto kAll = all_help(models::builtin_registry());
  return kAll;
}

std::string roff(const std::string& option) {
  std::string out;
  for (const char c : option) out += c == '-' ? "\\-" : std::string(1, c);
  return out;
}

}  // namespace

BOOST_AUTO_TEST_CASE(the_help_of_a_verb_names_every_option_that_it_takes_and_no_other) {
  BOOST_CHECK_GE(all().size(), 12);
  for (const VerbHelp& verb : all()) {
    std::set<std::string> shown, taken(verb.declared.begin(), verb.declared.end());
    for (const HelpItem& item : verb.items)
      if (item.is_option()) shown.insert(item.name);
    shown.insert("--help");
    for (const std::string& option : taken) BOOST_CHECK_MESSAGE(shown.contains(option), verb.name << " hides " << option);
    for (const std::string& option : shown) BOOST_CHECK_MESSAGE(taken.contains(option), verb.name << " promises " << option);
  }
}

BOOST_AUTO_TEST_CASE(a_help_text_is_taken_apart) {
  const VerbHelp help = parse_help("cook", "a meal", R"(A meal,
of what is there.

usage: tradewind cook POT [POT...] [--salt GRAMS]
                      [--hot]

  POT           something to cook in; more
                than one may be given
  --salt GRAMS  how salty (default 3)
  --hot         spare no pepper

Exit code 3: it burnt,
and the kitchen with it.

examples:
  tradewind cook pan \
    --hot
)");
  BOOST_CHECK_EQUAL(help.title, "A meal, of what is there.");
  BOOST_CHECK_EQUAL(help.usage.size(), 2);
  BOOST_REQUIRE_EQUAL(help.items.size(), 3);
  BOOST_CHECK_EQUAL(help.items[0].text, "something to cook in; more than one may be given");
  BOOST_CHECK_EQUAL(help.items[1].name, "--salt");
  BOOST_CHECK_EQUAL(help.items[1].value, "GRAMS");
  BOOST_CHECK(!help.items[0].is_option() && help.items[2].value.empty());
  BOOST_REQUIRE_EQUAL(help.paragraphs.size(), 1);
  BOOST_CHECK_EQUAL(help.paragraphs[0], "Exit code 3: it burnt, and the kitchen with it.");
  BOOST_CHECK_EQUAL(help.examples.size(), 2);
  BOOST_CHECK_EQUAL(help.value_of(help.items[1]), "GRAMS");
  const VerbHelp choice = parse_help("cook", "", "A meal.\n\nusage: tradewind cook [--heat low|high]\n\n  --heat H  how hot\n");
  BOOST_CHECK_EQUAL(choice.value_of(choice.items.at(0)), "low|high");
  BOOST_CHECK_EQUAL(help.places().size(), 1);
  BOOST_CHECK_EQUAL(help.places()[0], "POT...");
}

BOOST_AUTO_TEST_CASE(the_manual_page_has_every_verb_option_example_and_exit_code) {
  const std::string page = manual_page(models::builtin_registry(), "2026-01-02");
  BOOST_CHECK(page.starts_with(".TH TRADEWIND 1 2026-01-02 "));
  for (const VerbHelp& verb : all()) {
    const std::size_t begin = page.find(".SS \"tradewind " + roff(verb.name) + "\"\n");
    BOOST_REQUIRE_MESSAGE(begin != std::string::npos, verb.name);
    const std::string section = page.substr(begin, page.find("\n.S", begin + 1) - begin);
    for (const std::string& option : verb.declared)
      BOOST_CHECK_MESSAGE(option == "--help" || holds(section, ".B " + roff(option)), verb.name << " " << option);
    BOOST_CHECK_MESSAGE(!verb.examples.empty() && holds(section, roff(verb.examples.front())), verb.name);
  }
  for (const char* code : {"0", "2", "3", "4", "5", "70", "75"})
    BOOST_CHECK_MESSAGE(holds(page.substr(page.find(".SH EXIT STATUS")), std::string(".B ") + code + "\n"), code);
}

BOOST_AUTO_TEST_CASE(completion_knows_what_stands_where) {
  BOOST_CHECK(wanted("RUN...") == Wanted::kRun && wanted("RUN|CHECKPOINT") == Wanted::kRun);
  BOOST_CHECK(wanted("CONFIG") == Wanted::kRecipe && wanted("FILE") == Wanted::kFile);
  BOOST_CHECK(wanted("bash|zsh") == Wanted::kWord && wanted("KEY=VALUE") == Wanted::kSetting);
  BOOST_CHECK(wanted("N") == Wanted::kNothing && wanted("TEXT") == Wanted::kNothing);
  BOOST_CHECK_EQUAL(shell_quoted("it's"), "'it'\\''s'");
  const auto source = completion_source(models::builtin_registry());
  const auto key = std::ranges::find(source.keys, std::string("model.name"), &runtime::ConfigKey::key);
  BOOST_REQUIRE(key != source.keys.end());
  BOOST_CHECK(values_of(*key) == source.models);
}

}  // namespace tradewind::launcher
