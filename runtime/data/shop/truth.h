// The truth of a demo shop as tables, for programs that know nothing of how it was made.
#pragma once

#include <cstdint>
#include <filesystem>
#include <vector>

#include "runtime/data/shop/world.h"

namespace tradewind::runtime::shop {

/// Writes into `folder`, with numbers to the last bit:
///   model.csv       name,value: the constants of world.h
///   items.csv       item,category,style,weight,share,quality
///   needs.csv       need,stage,category,share,peak_day: a row a stage
///   successors.csv  need,successor,share
///   users.csv       user,taste,price_sensitivity,activity,churn_logit,left_on
/// `left`: per customer the day, or -1.
void write_truth(const std::filesystem::path& folder, const World& world, std::int64_t days,
                 const std::vector<std::int32_t>& left);

}  // namespace tradewind::runtime::shop
