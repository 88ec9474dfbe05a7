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
  /// Throws ConfigError: missing file, TOML syntax (file:line:col), an override that is no `key=value`.
  static ConfigDocument read(const std::filesystem::path& file, const std::vector<std::string>& overrides);
  static ConfigDocument parse(const std::string& text, const std::string& name, const std::vector<std::string>& overrides);
  ~ConfigDocument();
  ConfigDocument(ConfigDocument&&) noexcept;
  ConfigDocument& operator=(ConfigDocument&&) noexcept;

  /// The string at a dotted key, or `otherwise`: for choosing a component (model.name) before it is described.
  std::string string_or(const std::string& key, const std::string& otherwise) const;

  /// Fills what `describe` names. Throws ConfigError for an unknown key (file:line:col, "did you mean"), a wrong type,
  /// a value outside its limits or choices: as many as there are, one a line.
  void fill(const std::function<void(Fields&)>& describe) const;

 private:
  struct Impl;
  explicit ConfigDocument(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

/// The values as TOML, every key with its explanation as a comment. Reading it back gives the same values, to the bit.
std::string write_config(const std::function<void(Fields&)>& describe);

/// One line a key whose dotted name is or starts with `key` ("" for all): name, type, default, limits, explanation, at most 80
/// columns. Throws ConfigError with "did you mean" where there is none.
std::string explain_config(const std::function<void(Fields&)>& describe, const std::string& key);

/// The candidate nearest to `word` by edit distance, or "" where none is near.
std::string did_you_mean(const std::string& word, const std::vector<std::string>& candidates);

}  // namespace tradewind::runtime
