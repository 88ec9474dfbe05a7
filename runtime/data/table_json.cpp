#include "runtime/data/table_json.h"

#include <fmt/format.h>

#include <algorithm>
#include <nlohmann/json.hpp>

#include "runtime/config/config.h"

namespace tradewind::runtime {
namespace {

using Json = nlohmann::json;

enum class Kind { kAbsent, kText, kInteger, kNumber, kNull, kList, kOther };

/// Receives an object's values as they are parsed, and keeps those that are wanted.
class Handler final : public nlohmann::json_sax<Json> {
 public:
  Handler(const std::vector<WantedColumn>& wanted, std::vector<std::string>& values)
      : wanted_(wanted), values_(values), kinds_(wanted.size(), Kind::kAbsent) {}

  bool null() override {
    return value(Kind::kNull, [] { return std::string(); });
  }
  bool boolean(bool) override {
    return value(Kind::kOther, [] { return std::string(); });
  }
  bool number_integer(number_integer_t number) override {
    return value(Kind::kInteger, [&] { return std::to_string(number); });
  }
  bool number_unsigned(number_unsigned_t number) override {
    return value(Kind::kInteger, [&] { return std::to_string(number); });
  }
  bool number_float(number_float_t, const string_t& written) override {
    // Digits alone are an integer, of more than 64 bits.
    const bool digits = written.find_first_not_of("-0123456789") == std::string::npos;
    return value(digits ? Kind::kInteger : Kind::kNumber, [&] { return written; });
  }
  bool string(string_t& text) override {
    return value(Kind::kText, [&] { return text; });
  }
  bool binary(binary_t&) override { return false; }  // of other encodings than text
  bool start_object(std::size_t) override {
    if (depth_ == 0) object_ = true;
    return begin();
  }
  bool start_array(std::size_t) override {
    begin();
    if (depth_ == 2 && current_ >= 0 && wanted_[static_cast<std::size_t>(current_)].attribute) keep(Kind::kList, {});
    return true;
  }
  bool end_object() override { return --depth_, true; }
  bool end_array() override { return --depth_, true; }
  bool key(string_t& name) override {
    if (depth_ != 1) return true;
    current_ = -1;
    const auto at = std::ranges::find(wanted_, name, &WantedColumn::name);
    if (at != wanted_.end()) current_ = static_cast<int>(at - wanted_.begin());
    if (current_ < 0 && others_.size() < 40) others_.push_back(name);
    return true;
  }
  bool parse_error(std::size_t position, const std::string&, const nlohmann::detail::exception&) override {
    error_ = position;
    return false;
  }

  bool object() const { return object_; }
  std::size_t error() const { return error_; }  // the byte, from 1
  Kind kind(std::size_t i) const { return kinds_[i]; }
  const std::vector<std::string>& others() const { return others_; }

 private:
  bool begin() {
    if (++depth_ == 2 || (current_ >= 0 && kinds_[static_cast<std::size_t>(current_)] == Kind::kList)) keep(Kind::kOther, {});
    return true;
  }
  template <class Text>
  bool value(Kind kind, const Text& text) {
    if (depth_ == 1 && current_ >= 0) keep(kind, text());
    if (depth_ == 2 && current_ >= 0) add(kind, text);
    return true;
  }
  /// A value of an array.
  template <class Text>
  void add(Kind kind, const Text& text) {
    Kind& all = kinds_[static_cast<std::size_t>(current_)];
    if (all != Kind::kList) return;
    if (kind == Kind::kNull || kind == Kind::kOther) {
      all = Kind::kOther;
      return;
    }
    std::string& joined = values_[static_cast<std::size_t>(current_)];
    if (!joined.empty()) joined += kListSeparator;
    joined += text();
  }
  void keep(Kind kind, std::string text) {
    if (current_ < 0) return;
    kinds_[static_cast<std::size_t>(current_)] = kind;
    values_[static_cast<std::size_t>(current_)] = std::move(text);
  }

  const std::vector<WantedColumn>& wanted_;
  std::vector<std::string>& values_;
  std::vector<Kind> kinds_;
  std::vector<std::string> others_;  // keys of the object that are not wanted
  int depth_ = 0, current_ = -1;
  bool object_ = false;
  std::size_t error_ = 0;
};

}  // namespace

std::optional<TableStream::JsonRow::Refusal> TableStream::JsonRow::read(std::string_view line) {
  Handler handler(wanted_, values_);
  if (!Json::sax_parse(line, &handler))
    return Refusal{handler.error() == 0 ? 0 : handler.error() - 1, "json", "not valid JSON",
                   "JSON lines hold one object a line, in UTF-8; for a table with separators set data.format = \"csv\""};
  if (!handler.object())
    return Refusal{0, "json", "an object is expected",
                   "JSON lines hold one object a line, e.g. {\"user\": \"u1\", \"item\": \"i7\"}"};
  for (std::size_t i = 0; i < wanted_.size(); ++i) {
    const auto& [name, key, id, attribute] = wanted_[i];
    const auto first = static_cast<std::size_t>(std::ranges::find(wanted_, name, &WantedColumn::name) - wanted_.begin());
    if (first != i) values_[i] = values_[first];  // two keys of the config name it
    const Kind kind = handler.kind(first);
    if (attribute && (kind == Kind::kNull || kind == Kind::kList)) continue;
    if (kind == Kind::kAbsent)
      return Refusal{0, "missing_key",
                     fmt::format("no key \"{}\"{}", name, suggestion_text(did_you_mean(name, handler.others()))),
                     column_repair(wanted_[i], handler.others())};
    if (kind == Kind::kText || kind == Kind::kInteger || (kind == Kind::kNumber && !id)) continue;
    const std::size_t offset = offset_of(line, i);
    if (kind == Kind::kNull)
      return Refusal{offset, id ? "empty_id" : "empty", fmt::format("\"{}\" is null", name),
                     "Fill it in, or leave the row out"};
    return Refusal{offset, "json_type",
                   fmt::format("\"{}\" is {}", name,
                               kind == Kind::kNumber ? values_[i] + ", a number with a fraction" : "neither text nor a number"),
                   id          ? fmt::format("An id is text or an integer ({})", key)
                   : attribute ? fmt::format("Text, a number, null or an array of texts and numbers is expected ({})", key)
                               : fmt::format("Text or a number is expected ({})", key)};
  }
  return std::nullopt;
}

std::size_t TableStream::JsonRow::offset_of(std::string_view line, std::size_t i) const {
  const std::string quoted = "\"" + wanted_[i].name + "\"";
  for (std::size_t at = line.find(quoted); at != std::string_view::npos; at = line.find(quoted, at + 1)) {
    const std::size_t behind = line.find_first_not_of(" \t", at + quoted.size());
    if (behind != std::string_view::npos && line[behind] == ':') return at;
  }
  return line.size();
}

}  // namespace tradewind::runtime
