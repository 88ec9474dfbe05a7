#include <fmt/format.h>

#include <array>

#include "kernels/base/error.h"
#include "runtime/text/tokenizer.h"

namespace tradewind::runtime {
namespace {

constexpr std::int32_t kEndOfText = 256;

constexpr std::array<char, 256> kBytes = [] {
  std::array<char, 256> bytes{};
  for (int i = 0; i < 256; ++i) bytes[static_cast<std::size_t>(i)] = static_cast<char>(i);
  return bytes;
}();

class ByteEncoder final : public TextEncoder {
 public:
  void append(std::string_view utf8, std::vector<std::int32_t>& ids) override {
    for (const char c : utf8) ids.push_back(static_cast<unsigned char>(c));
  }
};

class ByteTokenizer final : public Tokenizer {
 public:
  std::string name() const override { return "byte"; }
  std::int64_t vocabulary_size() const override { return kEndOfText + 1; }
  std::optional<std::int32_t> end_of_text() const override { return kEndOfText; }
  std::unique_ptr<TextEncoder> encoder() const override { return std::make_unique<ByteEncoder>(); }
  nlohmann::json to_json() const override { return {{"type", "byte"}}; }

  std::string_view bytes(std::int32_t id) const override {
    if (id < 0 || id > kEndOfText)
      throw DataError(fmt::format("byte tokenizer: no token {} (ids are 0 to {})", id, kEndOfText));
    return id == kEndOfText ? std::string_view() : std::string_view(&kBytes[static_cast<std::size_t>(id)], 1);
  }
};

}  // namespace

std::unique_ptr<Tokenizer> make_byte_tokenizer() { return std::make_unique<ByteTokenizer>(); }

}  // namespace tradewind::runtime
