// Reading, overriding, checking, writing and explaining config files.
#pragma once

#include <filesystem>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "runtime/config/fields.h"

namespace tradewind::runtime {

/// A parsed TOML file with the `--set a.b=c` overrides applied.
class ConfigDocument {
 public:
  /// An override's value is TOML, or else a bare string: `data.path=/x/y.txt`, `model.dropout=0.1`.
  /// Throws ConfigError: missing file, TOML syntax (file:line:col), an override that is no `key=value`.
  static ConfigDocument read(const std::filesystem::path& file, const std::vector<std::string>& overrides);
  static ConfigDocument parse(const std::string& text, const std::string& name, const std::vector<std::string>& overrides);
  ~ConfigDocument();
  ConfigDocument(ConfigDocument&&) noexcept;
  ConfigDocument& operator=(ConfigDocument&&) noexcept;

  /// The string at a dotted key, or `otherwise`: for choosing a component (model.name) before it is described.
  std::string string_or(const std::string& key, const std::string& otherwise) const;

  /// Fills what `describe` names. Throws ConfigError for an unknown key (file:line:col, "did you mean"), a wrong type,
  /// a value outside its limits or choices: as many as there are, one a line. An integer does where a number is expected.
  void fill(const std::function<void(Fields&)>& describe) const;

 private:
  struct Impl;
  explicit ConfigDocument(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

/// The values as TOML, every key with its explanation as a comment. Reading it back gives the same values, to the bit.
std::string write_config(const std::function<void(Fields&)>& describe);

/// An entry for each key whose dotted name is `key` or lies in the section `key` ("" for all): name, type, default, limits,
/// explanation, in lines of at most 80 columns. Throws ConfigError with "did you mean" where there is none.
std::string explain_config(const std::function<void(Fields&)>& describe, const std::string& key);

/// A key as a program wants to know it.
struct ConfigKey {
  std::string key;    // dotted
  std::string type;   // "integer", "number", "boolean", "string", "strings"
  std::string value;  // the default, as TOML
  std::vector<std::string> choices;
  Limits limits;
  std::string doc;
};
/// The keys that `describe` names, in its order, the root's first. As explain_config chooses by `key`, and throws.
std::vector<ConfigKey> config_keys(const std::function<void(Fields&)>& describe, const std::string& key);

/// A key that two config files give different values ("(absent)" where one lacks it).
struct ConfigDifference {
  std::string key, before, after;
};
/// By key. Both texts are TOML, as write_config gives them; throws ConfigError naming `name` where one does not parse.
std::vector<ConfigDifference> compare_configs(const std::string& before, const std::string& after, const std::string& name);

/// The candidate nearest to `word` by edit distance, or the only one that begins with it, or "" where none is near.
std::string did_you_mean(const std::string& word, const std::vector<std::string>& candidates);
/// The same for a dotted key: "train.stpes" is "train.steps", "train.dropout" may be "model.dropout".
std::string did_you_mean_key(const std::string& key, const std::vector<std::string>& keys);
/// `; did you mean "train.steps"?`, or nothing for "".
std::string suggestion_text(const std::string& suggestion);

}  // namespace tradewind::runtime
