// Reading config files: toml++ parses, a Fields visitor takes the values out and finds what is wrong with them.
//
// All errors of a file are gathered and reported in the order of the file, so that one run shows all of them. A value that
// came by --set is reported with the override's own text in place of file:line:col.
#include "runtime/config/config.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <fstream>
#include <map>
#include <optional>
#include <set>
#include <sstream>
#include <system_error>
#include <utility>

#include <toml++/toml.h>

#include "kernels/base/error.h"
#include "runtime/text/utf8.h"

namespace tradewind::runtime {
namespace {

struct Override {
  std::string text;   // "model.dropout=0.1"
  std::string value;  // "0.1"
};

std::string join(const std::string& section, std::string_view key) {
  return section.empty() ? std::string(key) : section + "." + std::string(key);
}

std::string position(const std::string& name, const toml::source_position& at) {
  return fmt::format("{}:{}:{}", name, at.line, at.column);
}

std::string read_file(const std::filesystem::path& file) {
  std::error_code error;
  if (std::filesystem::is_directory(file, error)) throw ConfigError("config file " + file.string() + " is a directory");
  std::ifstream in(file, std::ios::binary);
  if (!in) {
    const std::string reason = std::generic_category().message(errno);
    std::vector<std::string> neighbours;
    const std::filesystem::path folder = file.has_parent_path() ? file.parent_path() : std::filesystem::path(".");
    for (std::filesystem::directory_iterator at(folder, error), end; !error && at != end; at.increment(error))
      if (at->path().extension() == ".toml") neighbours.push_back(at->path().filename().string());
    const std::string near = did_you_mean(file.filename().string(), neighbours);
    throw ConfigError("cannot read config file " + file.string() + ": " + reason +
                      suggestion_text(near.empty() ? "" : (file.parent_path() / near).string()));
  }
  std::ostringstream text;
  text << in.rdbuf();
  if (in.bad()) throw ConfigError("cannot read config file " + file.string() + ": " + std::generic_category().message(errno));
  return std::move(text).str();
}

toml::table parse_toml(const std::string& text, const std::string& name) {
  try {
    return toml::parse(text, name);
  } catch (const toml::parse_error& error) {
    throw ConfigError(position(name, error.source().begin) + ": " + std::string(error.description()));
  }
}

/// Puts the value of `override` under `path`, making sections on the way.
void insert_override(toml::table& root, const std::vector<std::string>& path, const Override& override) {
  toml::table* table = &root;
  for (std::size_t i = 0; i + 1 < path.size(); ++i) {
    toml::node* node = table->get(path[i]);
    if (node == nullptr) node = &table->insert(path[i], toml::table{}).first->second;
    table = node->as_table();
    if (table == nullptr) throw ConfigError("--set " + override.text + ": \"" + path[i] + "\" is a value, not a section");
  }
  try {
    toml::table parsed = toml::parse("value = " + override.value);
    // A value with a line break in it could bring keys of its own; then it is text.
    if (parsed.size() == 1 && parsed.contains("value")) {
      parsed.get("value")->visit([&](auto& node) { table->insert_or_assign(path.back(), std::move(node)); });
      return;
    }
  } catch (const toml::parse_error&) {
  }
  table->insert_or_assign(path.back(), override.value);
}

std::string describe_value(const toml::node& node) {
  switch (node.type()) {
    case toml::node_type::table: return "a section";
    case toml::node_type::array: return "an array";
    case toml::node_type::string: return fmt::format("the string \"{}\"", **node.as_string());
    case toml::node_type::integer: return fmt::format("the integer {}", **node.as_integer());
    case toml::node_type::floating_point: return fmt::format("the number {}", **node.as_floating_point());
    case toml::node_type::boolean: return **node.as_boolean() ? "true" : "false";
    default: return "a date or time";
  }
}

}  // namespace

struct ConfigDocument::Impl {
  std::string name;
  toml::table root;
  std::map<std::string, std::pair<std::size_t, Override>> overrides;  // by key; the last one of a key counts

  /// The override that a key's value, or a section around it, came by.
  const std::pair<std::size_t, Override>* origin(std::string key) const {
    while (true) {
      if (const auto found = overrides.find(key); found != overrides.end()) return &found->second;
      const std::size_t dot = key.rfind('.');
      if (dot == std::string::npos) return nullptr;
      key.resize(dot);
    }
  }
  bool below_override(const std::string& key) const {
    const auto next = overrides.lower_bound(key + ".");
    return next != overrides.end() && next->first.starts_with(key + ".");
  }
};

namespace {

/// Gathers errors, and gives them out in the order of the file, then of the overrides.
class Errors {
 public:
  template <class Impl>
  void add(const Impl& document, const std::string& key, const toml::source_position& at, const std::string& what) {
    if (const auto* origin = document.origin(key)) {
      found_[{1, origin->first, 0}] += "--set " + origin->second.text + ": " + what + "\n";
    } else if (at.line == 0) {  // a section that only an override made
      found_[{1, 0, 0}] += "--set: " + what + "\n";
    } else {
      found_[{0, at.line, at.column}] += position(document.name, at) + ": " + what + "\n";
    }
  }
  void throw_if_any() const {
    std::string all;
    for (const auto& [place, text] : found_) all += text;
    if (all.empty()) return;
    all.pop_back();
    throw ConfigError(all);
  }

 private:
  std::map<std::tuple<int, std::size_t, std::size_t>, std::string> found_;
};

template <class Impl>
class Reader final : public Fields {
 public:
  Reader(const Impl& document, Errors& errors) : document_(document), errors_(errors) { open_.push_back({"", &document.root}); }

  const std::vector<std::string>& keys() const { return keys_; }

  void field(std::string_view key, std::int64_t& value, std::string_view, Limits limits) override {
    const toml::node* node = take(key);
    if (node == nullptr) return;
    if (!node->is_integer()) return wrong_type(key, *node, "an integer");
    const std::int64_t given = **node->as_integer();
    if (within(key, *node, static_cast<double>(given), limits, std::to_string(given))) value = given;
  }

  void field(std::string_view key, double& value, std::string_view, Limits limits) override {
    const toml::node* node = take(key);
    if (node == nullptr) return;
    if (!node->is_number()) return wrong_type(key, *node, "a number");
    const double given = *node->value<double>();
    if (!std::isfinite(given)) return error(key, *node, fmt::format("{} must be finite, is {}", full(key), given));
    if (within(key, *node, given, limits, fmt::format("{}", given))) value = given;
  }

  void field(std::string_view key, bool& value, std::string_view) override {
    const toml::node* node = take(key);
    if (node == nullptr) return;
    if (!node->is_boolean()) return wrong_type(key, *node, "true or false");
    value = **node->as_boolean();
  }

  void field(std::string_view key, std::string& value, std::string_view, std::vector<std::string> choices) override {
    const toml::node* node = take(key);
    if (node == nullptr) return;
    std::string given;
    if (node->is_string()) {
      given = **node->as_string();
    } else if (const auto found = document_.overrides.find(full(key)); found != document_.overrides.end()) {
      given = found->second.second.value;  // --set run.directory=2024 needs no quotes
    } else {
      return wrong_type(key, *node, "a string");
    }
    if (!choices.empty() && std::find(choices.begin(), choices.end(), given) == choices.end()) {
      std::string list;
      for (const std::string& choice : choices) list += (list.empty() ? "\"" : ", \"") + choice + "\"";
      return error(key, *node,
                   fmt::format("{} must be one of {}, is \"{}\"{}", full(key), list, given,
                               suggestion_text(did_you_mean(given, choices))));
    }
    value = given;
  }

  void field(std::string_view key, std::vector<std::string>& value, std::string_view) override {
    const toml::node* node = take(key);
    if (node == nullptr) return;
    const toml::array* array = node->as_array();
    if (array == nullptr) return wrong_type(key, *node, "an array of strings");
    std::vector<std::string> given;
    for (const toml::node& element : *array) {
      if (!element.is_string()) return wrong_type(key, element, "an array of strings, and in it");
      given.push_back(**element.as_string());
    }
    value = given;
  }

  /// Reports what the description did not name.
  void report_unknown() { report_unknown(document_.root, ""); }

 protected:
  void begin_section(std::string_view key, std::string_view) override {
    const toml::node* node = take(key);
    if (node != nullptr && !node->is_table()) wrong_type(key, *node, "a section");
    sections_.insert(full(key));
    open_.push_back({full(key), node == nullptr ? nullptr : node->as_table()});
  }
  void end_section() override { open_.pop_back(); }

 private:
  struct Open {
    std::string name;
    const toml::table* table;  // null where the file has none
  };

  std::string full(std::string_view key) const { return join(open_.back().name, key); }

  const toml::node* take(std::string_view key) {
    keys_.push_back(full(key));
    known_.insert(full(key));
    return open_.back().table == nullptr ? nullptr : open_.back().table->get(key);
  }

  void error(std::string_view key, const toml::node& node, const std::string& what) {
    errors_.add(document_, full(key), node.source().begin, what);
  }

  void wrong_type(std::string_view key, const toml::node& node, const std::string& expected) {
    std::string remedy;
    if (const auto* number = node.as_floating_point(); expected == "an integer" && number != nullptr)
      if (std::trunc(**number) == **number && std::abs(**number) < 1e15)
        remedy = fmt::format("; write {}", static_cast<std::int64_t>(**number));
    if (const auto* text = node.as_string(); text != nullptr && (expected == "an integer" || expected == "a number"))
      if (!(*text)->empty() && (*text)->find_first_not_of("0123456789.eE+-_") == std::string::npos)
        remedy = "; write it without quotes";
    error(key, node, fmt::format("{} must be {}, is {}{}", full(key), expected, describe_value(node), remedy));
  }

  bool within(std::string_view key, const toml::node& node, double given, const Limits& limits, const std::string& text) {
    const bool low = limits.above_min ? !(given > limits.min) : !(given >= limits.min);
    const bool high = limits.below_max ? !(given < limits.max) : !(given <= limits.max);
    // An unbounded side is infinite: a finite value is never outside it.
    if (low && std::isfinite(limits.min))
      error(key, node,
            fmt::format("{} must be {} {}, is {}", full(key), limits.above_min ? "above" : "at least", limits.min, text));
    else if (high && std::isfinite(limits.max))
      error(key, node,
            fmt::format("{} must be {} {}, is {}", full(key), limits.below_max ? "below" : "at most", limits.max, text));
    else
      return true;
    return false;
  }

  void report_unknown(const toml::table& table, const std::string& section) {
    for (const auto& [key, node] : table) {
      const std::string name = join(section, key.str());
      const bool known = known_.count(name) != 0 && key.str().find('.') == std::string_view::npos;
      if (!known) {
        errors_.add(document_, unknown_name(name), key.source().begin,
                    fmt::format("unknown {} \"{}\"{}", node.is_table() ? "section" : "key", name,
                                suggestion_text(did_you_mean_key(name, keys_))));
      } else if (node.is_table() && sections_.count(name) != 0) {
        report_unknown(*node.as_table(), name);
      }
    }
  }

  // A section that an override made has no place in the file: its error belongs to the override below it.
  std::string unknown_name(const std::string& name) const {
    if (document_.origin(name) != nullptr || !document_.below_override(name)) return name;
    return document_.overrides.lower_bound(name + ".")->first;
  }

  const Impl& document_;
  Errors& errors_;
  std::vector<Open> open_;
  std::vector<std::string> keys_;
  std::set<std::string> known_, sections_;
};

void flatten(const toml::table& table, const std::string& section, std::map<std::string, std::string>& out) {
  for (const auto& [key, node] : table) {
    const std::string name = join(section, key.str());
    if (const toml::table* inner = node.as_table()) {
      flatten(*inner, name, out);
      continue;
    }
    // toml++ prints a double with fewer digits than tell it from its neighbours.
    if (const auto* number = node.as_floating_point()) {
      out[name] = fmt::format("{}", **number);
      continue;
    }
    std::ostringstream text;
    node.visit([&](const auto& value) { text << value; });
    out[name] = text.str();
  }
}

}  // namespace

ConfigDocument::ConfigDocument(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
ConfigDocument::~ConfigDocument() = default;
ConfigDocument::ConfigDocument(ConfigDocument&&) noexcept = default;
ConfigDocument& ConfigDocument::operator=(ConfigDocument&&) noexcept = default;

ConfigDocument ConfigDocument::read(const std::filesystem::path& file, const std::vector<std::string>& overrides) {
  return parse(read_file(file), file.string(), overrides);
}

ConfigDocument ConfigDocument::parse(const std::string& text, const std::string& name,
                                     const std::vector<std::string>& overrides) {
  auto impl = std::make_unique<Impl>();
  impl->name = name;
  impl->root = parse_toml(text, name);
  for (const std::string& given : overrides) {
    const std::size_t equals = given.find('=');
    std::vector<std::string> path(1);
    for (const char c : given.substr(0, equals))
      if (c == '.')
        path.emplace_back();
      else
        path.back() += c;
    const bool named = std::none_of(path.begin(), path.end(), [](const std::string& part) {
      return part.empty() || part.find_first_of(" \t\"'") != std::string::npos;
    });
    if (equals == std::string::npos || !named)
      throw ConfigError("--set " + given + ": expected key=value, as in --set train.steps=100");
    if (find_invalid_utf8(given) != std::string::npos) throw ConfigError("--set " + given + ": not valid UTF-8");
    const Override override{given, given.substr(equals + 1)};
    insert_override(impl->root, path, override);
    const std::string key = given.substr(0, equals);
    // What was set below this key before is gone with it.
    for (auto below = impl->overrides.lower_bound(key + ".");
         below != impl->overrides.end() && below->first.starts_with(key + ".");)
      below = impl->overrides.erase(below);
    const std::size_t order = impl->overrides.size() + 1;
    impl->overrides.insert_or_assign(key, std::pair{order, override});
  }
  return ConfigDocument(std::move(impl));
}

std::string ConfigDocument::string_or(const std::string& key, const std::string& otherwise) const {
  const toml::node* node = &impl_->root;
  for (std::size_t at = 0; node != nullptr && at <= key.size();) {
    const std::size_t dot = std::min(key.find('.', at), key.size());
    const toml::table* table = node->as_table();
    node = table == nullptr ? nullptr : table->get(std::string_view(key).substr(at, dot - at));
    at = dot + 1;
  }
  if (node == nullptr) return otherwise;
  if (node->is_string()) return **node->as_string();
  if (const auto found = impl_->overrides.find(key); found != impl_->overrides.end()) return found->second.second.value;
  Errors errors;
  errors.add(*impl_, key, node->source().begin, key + " must be a string, is " + describe_value(*node));
  errors.throw_if_any();
  return otherwise;
}

void ConfigDocument::fill(const std::function<void(Fields&)>& describe) const {
  Errors errors;
  Reader<Impl> reader(*impl_, errors);
  describe(reader);
  reader.report_unknown();
  errors.throw_if_any();
}

std::vector<ConfigDifference> compare_configs(const std::string& before, const std::string& after, const std::string& name) {
  std::map<std::string, std::string> old_values, new_values;
  flatten(parse_toml(before, name), "", old_values);
  flatten(parse_toml(after, name), "", new_values);
  std::map<std::string, ConfigDifference> found;
  const std::string absent = "(absent)";
  for (const auto& [key, value] : old_values) found[key] = {key, value, absent};
  for (const auto& [key, value] : new_values) {
    auto& entry = found.try_emplace(key, ConfigDifference{key, absent, absent}).first->second;
    entry.after = value;
  }
  std::vector<ConfigDifference> out;
  for (const auto& [key, entry] : found)
    if (entry.before != entry.after) out.push_back(entry);
  return out;
}

}  // namespace tradewind::runtime
