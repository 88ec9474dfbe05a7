#include "launcher/help.h"

#include <fmt/format.h>

#include <algorithm>
#include <sstream>
#include <utility>

#include "kernels/base/error.h"
#include "runtime/config/config.h"
#include "runtime/core/environment.h"
#include "runtime/core/terminal.h"

namespace tradewind::launcher {
namespace {

std::string trimmed(const std::string& text) {
  const std::size_t begin = text.find_first_not_of(' ');
  return begin == std::string::npos ? "" : text.substr(begin, text.find_last_not_of(' ') - begin + 1);
}

/// "  --set KEY=VALUE  override a key": two spaces part the name from its meaning.
HelpItem item_of(const std::string& line) {
  const std::size_t gap = line.find("  ", 2);
  std::string name = line.substr(2, gap - 2);
  HelpItem out{.name = name, .value = "", .text = gap == std::string::npos ? "" : trimmed(line.substr(gap))};
  // "-h, --help" stays together.
  if (const std::size_t space = name.find(' '); space != std::string::npos && out.is_option() && name[space + 1] != '-') {
    out.name = name.substr(0, space);
    out.value = name.substr(space + 1);
  }
  return out;
}

void add_words(std::string& text, const std::string& line) {
  if (!text.empty()) text += ' ';
  text += trimmed(line);
}

// man(7): a backslash begins an escape, and a hyphen that is typed is \\-.
std::string roff(const std::string& text) {
  std::string out;
  for (const char c : text) {
    if (c == '\\')
      out += "\\e";
    else if (c == '-')
      out += "\\-";
    else
      out += c;
  }
  return out;
}

/// A line of its own: one that begins with a dot or a quote would be a request.
std::string roff_line(const std::string& line) {
  return fmt::format("{}{}\n", line.starts_with('.') || line.starts_with('\'') ? "\\&" : "", line);
}

/// Running text, in lines of at most 80.
std::string roff_text(const std::string& text) {
  std::string out;
  std::istringstream lines(runtime::wrap_text(roff(text), ""));
  for (std::string line; std::getline(lines, line);) out += roff_line(line);
  return out;
}

std::string literal(const std::vector<std::string>& lines) {
  std::string out = ".PP\n.nf\n";
  for (const std::string& line : lines) out += roff_line(roff(line));
  return out + ".fi\n";
}

/// "exit codes: 0 done, 2 command line or config, ...", in pairs.
std::vector<std::pair<std::string, std::string>> exit_codes(const VerbHelp& program) {
  std::vector<std::pair<std::string, std::string>> out;
  for (const std::string& paragraph : program.paragraphs) {
    if (!paragraph.starts_with("exit codes: ")) continue;
    std::istringstream parts(paragraph.substr(12));
    for (std::string part; std::getline(parts, part, ',');) {
      part = trimmed(part);
      const std::size_t space = part.find(' ');
      out.emplace_back(part.substr(0, space), part.substr(std::min(part.size(), space + 1)));
    }
  }
  return out;
}

std::string section_of(const VerbHelp& verb) {
  std::string out = fmt::format(".SS \"tradewind {}\"\n{}", roff(verb.name), roff_text(verb.title));
  out += literal(verb.usage);
  for (const HelpItem& item : verb.items) {
    out += fmt::format(".TP\n.B {}", roff(item.name));
    if (!item.value.empty()) out += fmt::format(" \\fI{}\\fR", roff(item.value));
    out += fmt::format("\n{}", roff_text(item.text));
  }
  for (const std::string& paragraph : verb.paragraphs) out += fmt::format(".PP\n{}", roff_text(paragraph));
  if (!verb.examples.empty()) out += fmt::format(".PP\nExamples:\n{}", literal(verb.examples));
  return out;
}

}  // namespace

std::vector<std::string> VerbHelp::places() const {
  std::vector<std::string> out;
  std::istringstream words(usage.empty() ? "" : usage.front());
  std::string word;
  words >> word >> word;  // tradewind VERB
  while (words >> word) {
    if (word.starts_with("-") || word.starts_with("[-") || word == "[options]") break;
    std::erase_if(word, [](char c) { return c == '[' || c == ']'; });
    if (!out.empty() && word == out.back() + "...")
      out.back() = word;
    else
      out.push_back(word);
  }
  return out;
}

std::string VerbHelp::value_of(const HelpItem& item) const {
  for (const std::string& line : usage) {
    std::istringstream words(line);
    for (std::string word, before; words >> word; before = word) {
      std::erase_if(before, [](char c) { return c == '['; });
      if (before != item.name || word.find('|') == std::string::npos) continue;
      std::erase_if(word, [](char c) { return c == ']'; });
      const bool chosen = std::ranges::all_of(word, [](char c) { return (c >= 'a' && c <= 'z') || c == '-' || c == '|'; });
      return chosen ? word : item.value;
    }
  }
  return item.value;
}

VerbHelp parse_help(const std::string& name, const std::string& summary, const std::string& text) {
  VerbHelp out{.name = name,
               .summary = summary,
               .title = "",
               .usage = {},
               .items = {},
               .paragraphs = {},
               .examples = {},
               .declared = {}};
  enum class Part { kTitle, kUsage, kBody, kExamples } part = Part::kTitle;
  bool blank = true, items = false;  // what the line before was
  std::istringstream lines(text);
  for (std::string line; std::getline(lines, line); blank = line.empty()) {
    if (line.starts_with("usage: ")) {
      part = Part::kUsage;
      out.usage.push_back(line.substr(7));
    } else if (line == "examples:" || line == "example:" || line == "A first run:") {
      part = Part::kExamples;
    } else if (line.empty()) {
      if (part == Part::kUsage) part = Part::kBody;
    } else if (part == Part::kTitle) {
      add_words(out.title, line);
    } else if (part == Part::kUsage) {
      out.usage.push_back(line.substr(std::min<std::size_t>(7, line.size())));
    } else if (part == Part::kExamples && line.starts_with("  ")) {
      out.examples.push_back(line.substr(std::min<std::size_t>(2, line.size())));
    } else if (line.starts_with("  ") && line[2] != ' ' && (blank || items)) {
      out.items.push_back(item_of(line));
      items = true;
    } else if (line.starts_with("   ") && items && !blank) {
      add_words(out.items.back().text, line);
    } else {
      part = Part::kBody;
      items = false;
      if (blank || out.paragraphs.empty()) out.paragraphs.emplace_back();
      add_words(out.paragraphs.back(), line);
    }
  }
  return out;
}

Printed help_of(const Verb& verb, const models::Registry& registry) {
  try {
    verb.run({"--help"}, registry);
  } catch (const Printed& printed) {
    return printed;
  }
  throw InternalError("the verb " + verb.name + " has no --help");
}

std::vector<VerbHelp> all_help(const models::Registry& registry) {
  std::vector<VerbHelp> out;
  for (const Verb& verb : verbs()) {
    const Printed help = help_of(verb, registry);
    out.push_back(parse_help(verb.name, verb.summary, help.text));
    out.back().declared = help.options;
  }
  return out;
}

std::string manual_page(const models::Registry& registry, const std::string& date) {
  const auto all = all_help(registry);
  const VerbHelp program = parse_help("", "", program_help());
  std::string out = fmt::format(
      ".TH TRADEWIND 1 {0} \"Tradewind {1}\" \"User Commands\"\n.SH NAME\ntradewind \\- {2}\n.SH SYNOPSIS\n"
      ".B tradewind\n.I VERB\n.RI [ options ]\n.SH DESCRIPTION\n{3}\n",
      date, runtime::version(), "train e\\-commerce language models from one binary", roff(program.title));
  for (const HelpItem& item : program.items) {
    if (item.is_option()) continue;  // below
    out += fmt::format(".TP\n.B {}\n{}", roff(item.name), roff_text(item.text));
  }
  out += ".SH OPTIONS\n";
  for (const HelpItem& item : program.items) {
    if (!item.is_option()) continue;
    out += fmt::format(".TP\n.B {}\n{}", roff(item.name), roff_text(item.text));
  }
  out += ".SH COMMANDS\n";
  for (const VerbHelp& verb : all) out += section_of(verb);
  out += fmt::format(".SH EXAMPLES\nA first run:\n{}", literal(program.examples));
  out += ".SH EXIT STATUS\n";
  for (const auto& [code, meaning] : exit_codes(program)) out += fmt::format(".TP\n.B {}\n{}", code, roff_text(meaning));
  return out;
}

}  // namespace tradewind::launcher
