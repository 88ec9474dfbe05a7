// What customers type into the shop's search, and what it shows them.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "runtime/data/shop/records.h"
#include "runtime/data/shop/world.h"

namespace tradewind::runtime::shop {

inline constexpr int kResults = 10;

struct SearchText {
  std::string query;
  std::vector<std::int32_t> results;  // items, the first shown first; what was clicked is among them
};
/// The query names the category, often also the style or the colour that is looked for, sometimes with a slip of the finger.
/// The results are of the category, popular ones first; one in vain shows things of another. A click falls on place r with
/// probability proportional to 1 / r. A function of the seed and the record.
SearchText search_text(const World& world, const Search& search, std::int32_t taste, bool chinese);

}  // namespace tradewind::runtime::shop
