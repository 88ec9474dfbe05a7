// Interactions made by hand, as load_interactions makes them of a file.
#pragma once

#include <fmt/format.h>

#include <memory>
#include <string>
#include <vector>

#include "runtime/data/interactions.h"

namespace tradewind::tests {

/// Users u0, u1, ... with these items i0, i1, ... in order; leave-one-out where a user has three events or more.
inline std::shared_ptr<const runtime::Interactions> shop_of(const std::vector<std::vector<std::int32_t>>& histories,
                                                            std::int32_t items) {
  auto out = std::make_shared<runtime::Interactions>();
  runtime::Vocabulary users, names;
  for (std::int32_t i = 0; i < items; ++i) names.add(fmt::format("i{}", i));
  std::vector<std::int64_t> offsets = {0};
  std::vector<std::int32_t> item;
  std::vector<runtime::Part> part;
  for (const auto& history : histories) {
    users.add(fmt::format("u{}", users.size()), static_cast<std::int64_t>(history.size()));
    for (std::size_t e = 0; e < history.size(); ++e) {
      const std::size_t left = history.size() - e;
      item.push_back(history[e]);
      part.push_back(history.size() < 3 || left > 2 ? runtime::Part::kTrain
                     : left == 2                    ? runtime::Part::kValidation
                                                    : runtime::Part::kTest);
    }
    offsets.push_back(static_cast<std::int64_t>(item.size()));
  }
  out->offsets = offsets, out->item = item, out->part = part;
  out->users = std::make_shared<const runtime::Vocabulary>(std::move(users));
  out->items = std::make_shared<const runtime::Vocabulary>(std::move(names));
  out->checksum = 7;
  return out;
}

}  // namespace tradewind::tests
