// One description of a config serves reading, checking, explaining and writing it.
//
// A component owns a plain struct with its defaults and a member
//     void describe(Fields& f) {
//       f.field("layers", layers, "Transformer blocks.", {.min = 1});
//       f.section("adam", adam, "Adam's constants.");
//     }
// runtime/config/config.h reads a TOML file through it (unknown keys and wrong types are ConfigErrors with file:line:col and
// "did you mean"), writes the resolved file, and explains every key (`tradewind config schema`).
#pragma once

#include <cstdint>
#include <limits>
#include <string>
#include <string_view>
#include <vector>

namespace tradewind::runtime {

struct Limits {
  double min = -std::numeric_limits<double>::infinity();
  double max = std::numeric_limits<double>::infinity();
  bool above_min = false;  // min itself is not allowed
  bool below_max = false;
};

class Fields {
 public:
  virtual ~Fields() = default;
  virtual void field(std::string_view key, std::int64_t& value, std::string_view doc, Limits limits = {}) = 0;
  virtual void field(std::string_view key, double& value, std::string_view doc, Limits limits = {}) = 0;
  virtual void field(std::string_view key, bool& value, std::string_view doc) = 0;
  /// choices empty: any string.
  virtual void field(std::string_view key, std::string& value, std::string_view doc, std::vector<std::string> choices = {}) = 0;
  virtual void field(std::string_view key, std::vector<std::string>& value, std::string_view doc) = 0;

  template <class Section>
  void section(std::string_view key, Section& section, std::string_view doc) {
    begin_section(key, doc);
    section.describe(*this);
    end_section();
  }

 protected:
  virtual void begin_section(std::string_view key, std::string_view doc) = 0;
  virtual void end_section() = 0;
};

}  // namespace tradewind::runtime
