#include "runtime/data/shop/catalogue.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cmath>

#include "kernels/base/philox.h"
#include "runtime/data/shop/words.h"
#include "runtime/data/shuffle.h"

namespace tradewind::runtime::shop {
namespace {

/// Numbers of seven digits or more, spread over ten times as many as are used.
std::int64_t spread(std::uint64_t seed, std::int64_t purpose, std::int64_t index) {
  constexpr std::int64_t kBlock = 100'000;  // permuted each by itself, so that a number does not depend on how many there are
  return index / kBlock * kBlock * 10 + permute(seed, purpose + index / kBlock * 16, kBlock * 10, index % kBlock);
}

}  // namespace

std::string stock_number(std::uint64_t seed, std::int64_t item) {
  constexpr std::array<const char*, 8> kVariants{"", "", "", "-BLK", "-S", "-XL", "-2", "/B"};
  constexpr std::array<const char*, 3> kAwkward{",2", "-12\"", ", \"new\""};
  const auto number = spread(seed, 1, item);
  const auto kind = static_cast<std::uint64_t>(item);
  const char* variant =
      item % 50 == 17 ? kAwkward[kind / 50 % kAwkward.size()] : kVariants[kernels::mix64(kind + seed) % kVariants.size()];
  return fmt::format("SKU-{:06}{}", number, variant);
}

std::string customer_number(std::uint64_t seed, std::int64_t customer) {
  return fmt::format("C-{:07}", spread(seed, 2, customer));
}

void append_session(std::string& row, std::int64_t customer, std::uint32_t session) {
  std::uint64_t mixed = kernels::mix64((static_cast<std::uint64_t>(customer) << 24 | session) + 1);  // a bijection
  for (int digit = 0; digit < 16; ++digit, mixed <<= 4) row += "0123456789abcdef"[mixed >> 60];
}

double typical_price(int category) { return category_words(category).price; }

double made_up_price(const Item& item, double luck) {
  constexpr std::array<double, kStyles> kOfStyle{0.0, 0.12, -0.08, 0.2, -0.15};
  const double price = typical_price(item.category) *
                       std::exp(0.1 * item.quality + kOfStyle[static_cast<std::size_t>(item.style)] + 0.18 * luck);
  return std::max(3.0, std::floor(price)) + (item.style % 2 == 0 ? 0.90 : 0.95);
}

}  // namespace tradewind::runtime::shop
