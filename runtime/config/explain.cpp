// Config as text: the resolved file, and the explanation of every key.
#include <fmt/format.h>

#include <charconv>
#include <string>
#include <utility>
#include <vector>

#include "kernels/base/error.h"
#include "runtime/config/config.h"
#include "runtime/core/terminal.h"

namespace tradewind::runtime {
namespace {

// The shortest decimal that reads back as the same double. TOML wants a point or an exponent in it.
std::string number_text(double value) {
  char buffer[32];
  const auto end = std::to_chars(buffer, buffer + sizeof buffer, value).ptr;
  std::string text(buffer, end);
  if (text.find_first_of(".en") == std::string::npos) text += ".0";
  return text;
}

std::string toml_string(const std::string& value) {
  std::string out = "\"";
  for (const char c : value) {
    const auto byte = static_cast<unsigned char>(c);
    if (c == '"' || c == '\\') {
      out += '\\';
      out += c;
    } else if (byte < 0x20 || byte == 0x7F) {
      constexpr char kHex[] = "0123456789ABCDEF";
      out += "\\u00";
      out += kHex[byte >> 4];
      out += kHex[byte & 15];
    } else {
      out += c;
    }
  }
  return out + "\"";
}

std::string limit_text(double value) {
  std::string text = number_text(value);
  if (text.ends_with(".0")) text.resize(text.size() - 2);
  return text;
}

std::string limits_text(const Limits& limits) {
  std::string out;
  if (limits.min > -std::numeric_limits<double>::infinity())
    out += std::string(limits.above_min ? ", above " : ", at least ") + limit_text(limits.min);
  if (limits.max < std::numeric_limits<double>::infinity())
    out += std::string(limits.below_max ? ", below " : ", at most ") + limit_text(limits.max);
  return out;
}

/// One key of a description.
struct Entry {
  std::string key;    // without its section
  std::string type;   // "integer", with limits or choices
  std::string value;  // as TOML
  std::string doc;
  std::string kind;  // ConfigKey's type
  std::vector<std::string> choices;
  Limits limits;
};
struct Section {
  std::string name, doc;
  std::vector<Entry> entries = {};
};

/// Collects a description, section by section: TOML wants the keys of a section together, root first.
class Collector final : public Fields {
 public:
  Collector() { sections_.push_back({"", ""}); }
  const std::vector<Section>& sections() const { return sections_; }

  void field(std::string_view key, std::int64_t& value, std::string_view doc, Limits limits) override {
    add(key, "integer" + limits_text(limits), std::to_string(value), doc, "integer", {}, limits);
  }
  void field(std::string_view key, double& value, std::string_view doc, Limits limits) override {
    add(key, "number" + limits_text(limits), number_text(value), doc, "number", {}, limits);
  }
  void field(std::string_view key, bool& value, std::string_view doc) override {
    add(key, "true or false", value ? "true" : "false", doc, "boolean");
  }
  void field(std::string_view key, std::string& value, std::string_view doc, std::vector<std::string> choices) override {
    std::string type = "string";
    for (std::size_t i = 0; i < choices.size(); ++i) type += (i == 0 ? ": " : " | ") + toml_string(choices[i]);
    add(key, type, toml_string(value), doc, "string", std::move(choices));
  }
  void field(std::string_view key, std::vector<std::string>& value, std::string_view doc) override {
    std::string text = "[";
    for (std::size_t i = 0; i < value.size(); ++i) text += (i == 0 ? "" : ", ") + toml_string(value[i]);
    add(key, "list of strings", text + "]", doc, "strings");
  }

 protected:
  void begin_section(std::string_view key, std::string_view doc) override {
    const std::string& outer = sections_[open_.empty() ? 0 : open_.back()].name;
    open_.push_back(sections_.size());
    sections_.push_back({outer.empty() ? std::string(key) : outer + "." + std::string(key), std::string(doc)});
  }
  void end_section() override { open_.pop_back(); }

 private:
  void add(std::string_view key, std::string type, std::string value, std::string_view doc, std::string kind,
           std::vector<std::string> choices = {}, const Limits& limits = {}) {
    sections_[open_.empty() ? 0 : open_.back()].entries.push_back(
        {std::string(key), std::move(type), std::move(value), std::string(doc), std::move(kind), std::move(choices), limits});
  }

  std::vector<Section> sections_;
  std::vector<std::size_t> open_;
};

std::string dotted(const Section& section, const Entry& entry) {
  return section.name.empty() ? entry.key : section.name + "." + entry.key;
}

}  // namespace

std::string write_config(const std::function<void(Fields&)>& describe) {
  Collector collector;
  describe(collector);
  std::string out;
  for (const Section& section : collector.sections()) {
    if (section.entries.empty()) continue;
    if (!out.empty()) out += "\n";
    if (!section.name.empty()) out += wrap_text(section.doc, "# ") + "[" + section.name + "]\n";
    for (const Entry& entry : section.entries) out += wrap_text(entry.doc, "# ") + entry.key + " = " + entry.value + "\n";
  }
  return out;
}

namespace {

[[noreturn]] void throw_no_such_key(const Collector& collector, const std::string& key) {
  std::vector<std::string> names;
  for (const Section& section : collector.sections()) {
    if (!section.name.empty()) names.push_back(section.name);
    for (const Entry& entry : section.entries) names.push_back(dotted(section, entry));
  }
  throw ConfigError("there is no config key \"" + key + "\"" + suggestion_text(did_you_mean_key(key, names)) +
                    " `tradewind config schema` lists all");
}

bool is_within(const Section& section, const std::string& key) {
  return key.empty() || section.name == key || section.name.starts_with(key + ".");
}

}  // namespace

std::string explain_config(const std::function<void(Fields&)>& describe, const std::string& key) {
  Collector collector;
  describe(collector);
  std::string out;
  for (const Section& section : collector.sections()) {
    const bool whole = is_within(section, key);
    if (whole && !section.entries.empty() && !section.name.empty()) {
      if (!out.empty()) out += '\n';
      out += wrap_text(fmt::format("[{}] {}", section.name, section.doc), "");
    }
    for (const Entry& entry : section.entries) {
      const std::string name = dotted(section, entry);
      if (!whole && name != key) continue;
      out += wrap_text(name + " = " + entry.value, "") + wrap_text("(" + entry.type + ") " + entry.doc, "    ");
    }
  }
  if (out.empty()) throw_no_such_key(collector, key);
  return out;
}

std::vector<ConfigKey> config_keys(const std::function<void(Fields&)>& describe, const std::string& key) {
  Collector collector;
  describe(collector);
  std::vector<ConfigKey> out;
  for (const Section& section : collector.sections())
    for (const Entry& entry : section.entries)
      if (is_within(section, key) || dotted(section, entry) == key)
        out.push_back({dotted(section, entry), entry.kind, entry.value, entry.choices, entry.limits, entry.doc});
  if (out.empty()) throw_no_such_key(collector, key);
  return out;
}

}  // namespace tradewind::runtime
