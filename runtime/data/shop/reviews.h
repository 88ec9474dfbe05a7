// What buyers write about what they bought, in the tone of what they think of it.
#pragma once

#include <array>
#include <string>

#include "runtime/data/shop/records.h"
#include "runtime/data/shop/world.h"

namespace tradewind::runtime::shop {

/// Of each aspect -1, 0 or 1; 0 is not mentioned.
enum Aspect : std::uint8_t { kQualityAspect, kStyleAspect, kPriceAspect, kDeliveryAspect, kAspects };
struct ReviewText {
  std::string title, text;
  std::array<int, kAspects> tone;
};

/// The rating sets the title and the closing sentence; quality and price follow the item's truth, style the buyer's taste,
/// delivery nothing. A function of the seed and the record.
ReviewText review_text(const World& world, const Review& review, bool matches_taste, bool chinese);

}  // namespace tradewind::runtime::shop
