// What the demo shop says of its goods and customers: texts of items.csv and users.csv.
#pragma once

#include <string>
#include <string_view>

#include "runtime/data/shop/choices.h"
#include "runtime/data/shop/words.h"
#include "runtime/data/shop/world.h"

namespace tradewind::runtime::shop {

/// What sets an item apart from others of its category and style; a function of (seed, item).
struct Looks {
  std::string_view brand, model;
  Words colour, material, feature, other_feature, closing;
};
Looks looks_of(std::uint64_t seed, std::int64_t item, int category);

/// The header and a row, with its line break.
std::string items_header();
void append_item(std::string& row, const World& world, std::int64_t item);
std::string users_header();
void append_user(std::string& row, const std::string& id, const Traits& traits);

}  // namespace tradewind::runtime::shop
