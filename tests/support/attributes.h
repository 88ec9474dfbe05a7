// Attributes of items made by hand, as load_item_attributes makes them of a table.
#pragma once

#include <fmt/format.h>

#include <algorithm>
#include <memory>
#include <string>
#include <vector>

#include "runtime/data/item_attributes.h"

namespace tradewind::tests {

/// A column of `values` values v0, v1, ...; of each item those it has, ascending.
inline runtime::AttributeColumn attribute(const std::string& name, std::int32_t values,
                                          const std::vector<std::vector<std::int32_t>>& of_items) {
  runtime::AttributeColumn out{.name = name, .number = false, .values = {}, .offsets = {0}, .codes = {}};
  for (std::int32_t v = 0; v < values; ++v) out.values.add(fmt::format("v{}", v));
  for (const auto& codes : of_items) {
    out.codes.insert(out.codes.end(), codes.begin(), codes.end());
    out.offsets.push_back(static_cast<std::int64_t>(out.codes.size()));
  }
  return out;
}

inline std::shared_ptr<const runtime::ItemAttributes> attributes_of(std::vector<runtime::AttributeColumn> columns) {
  runtime::ItemAttributes out;
  out.columns = std::move(columns);
  return std::make_shared<const runtime::ItemAttributes>(std::move(out));
}

/// Two columns: one value an item but every fifth, which has none; and lists of 0 to 3 values.
inline std::shared_ptr<const runtime::ItemAttributes> some_attributes(std::int32_t items) {
  std::vector<std::vector<std::int32_t>> one, many;
  for (std::int32_t i = 0; i < items; ++i) {
    one.push_back(i % 5 == 4 ? std::vector<std::int32_t>{} : std::vector<std::int32_t>{i % 3});
    many.emplace_back();
    for (std::int32_t v = 0; v < i % 4; ++v) many.back().push_back((i + 2 * v) % 7);
    std::ranges::sort(many.back());
    many.back().erase(std::unique(many.back().begin(), many.back().end()), many.back().end());
  }
  return attributes_of({attribute("one", 3, one), attribute("many", 7, many)});
}

}  // namespace tradewind::tests
