// Names, numbers and prices of the demo shop's goods and customers.
#pragma once

#include <cstdint>
#include <string>

#include "runtime/data/shop/world.h"

namespace tradewind::runtime::shop {

/// As shops have them: "SKU-03127-BLK"; one in fifty holds what CSV must quote, as `SKU-00412-12"` or "SKU-00988,2". Distinct.
std::string stock_number(std::uint64_t seed, std::int64_t item);
/// "C-0048213", in no order. Distinct.
std::string customer_number(std::uint64_t seed, std::int64_t customer);
/// Appends sixteen hexadecimal digits. Distinct.
void append_session(std::string& row, std::int64_t customer, std::uint32_t session);

/// Euros, of a category's middle.
double typical_price(int category);
/// Whole euros less ten or five cents; dearer with better quality, some styles and `luck`, a standard normal number.
double made_up_price(const Item& item, double luck);

}  // namespace tradewind::runtime::shop
