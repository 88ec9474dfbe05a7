// The help of the verbs, taken apart: completion and the manual page are made of what --help prints, so that they cannot say
// something else.
//
// A help text is: a sentence; "usage: tradewind VERB ...", with further lines indented; items, two spaces, a name and what it
// means, in a column of its own; paragraphs; "examples:" with commands indented by two.
#pragma once

#include <string>
#include <vector>

#include "launcher/verbs.h"

namespace tradewind::launcher {

struct HelpItem {
  std::string name;   // "--set", "CONFIG"
  std::string value;  // "KEY=VALUE", "" where it takes none
  std::string text;   // in one line
  bool is_option() const { return name.starts_with("-"); }
};

struct VerbHelp {
  std::string name, summary;  // of the table of verbs
  std::string title;          // the first sentence
  std::vector<std::string> usage;
  std::vector<HelpItem> items;
  std::vector<std::string> paragraphs;
  std::vector<std::string> examples;  // lines
  std::vector<std::string> declared;  // the options that the parser takes, --help among them

  /// What stands between the verb and its options in the usage, one word a place: "RUN", "bash|zsh|fish"; the last one with
  /// "..." where it repeats.
  std::vector<std::string> places() const;
  /// What an option's value is, for completion: where the usage has words to choose from ("--tokenizer auto|byte") these, else
  /// the item's placeholder.
  std::string value_of(const HelpItem& item) const;
};

/// `text`: what `tradewind NAME --help` prints.
VerbHelp parse_help(const std::string& name, const std::string& summary, const std::string& text);

/// The help text of a verb, and the options that it takes.
Printed help_of(const Verb& verb, const models::Registry& registry);

/// Of every verb.
std::vector<VerbHelp> all_help(const models::Registry& registry);

/// The manual page tradewind(1), in man(7)'s macros. `date`: "2026-11-29".
std::string manual_page(const models::Registry& registry, const std::string& date);

}  // namespace tradewind::launcher
