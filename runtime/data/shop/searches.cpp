#include "runtime/data/shop/searches.h"

#include <fmt/format.h>

#include <algorithm>

#include "runtime/data/shop/draws.h"
#include "runtime/data/shop/goods.h"

namespace tradewind::runtime::shop {
namespace {

std::string query_of(const World& world, const Search& search, std::int32_t taste, bool chinese, Draws& draws) {
  const Words &name = category_words(search.category).name, &style = style_words(taste);
  std::string query(chinese ? name.chinese : name.english);
  const double kind = draws.uniform();
  if (kind < 0.35) {
    query = chinese ? fmt::format("{}{}", style.chinese, query) : fmt::format("{} {}", style.english, query);
  } else if (kind < 0.5 && search.item >= 0) {
    const Words colour = looks_of(world.seed(), search.item, search.category).colour;
    query = chinese ? fmt::format("{} {}", colour.chinese, query) : fmt::format("{} {}", colour.english, query);
  }
  if (!chinese && draws.chance(0.06)) {  // two letters change places
    const auto at = static_cast<std::size_t>(draws.below(std::ssize(query) - 1));
    const auto letter = [](char c) { return c >= 'a' && c <= 'z'; };
    if (letter(query[at]) && letter(query[at + 1])) std::swap(query[at], query[at + 1]);
  }
  return query;
}

}  // namespace

SearchText search_text(const World& world, const Search& search, std::int32_t taste, bool chinese) {
  Draws draws(world.seed(), Purpose::kOfText, static_cast<std::uint64_t>(search.customer),
              std::uint64_t{1} << 40 | std::uint64_t{search.number} << 16);
  SearchText out{.query = query_of(world, search, taste, chinese, draws), .results = {}};
  const int other = static_cast<int>(1 + draws.below(kCategories - 1));
  const int category = search.item >= 0 ? search.category : (search.category + other) % kCategories;
  const auto goods = world.items_of(category);
  const auto count = std::min<std::size_t>(kResults, goods.size());
  // Drawn by weight until as many are together; a category may have little more than that.
  for (int attempt = 0; out.results.size() < count && attempt < 200; ++attempt) {
    const std::int32_t item = attempt < 40 ? world.item_at(category, static_cast<int>(draws.below(kStyles)), draws.uniform())
                                           : goods[static_cast<std::size_t>(draws.below(std::ssize(goods)))];
    if (item != search.item && std::ranges::find(out.results, item) == out.results.end()) out.results.push_back(item);
  }
  std::ranges::stable_sort(out.results, std::greater<>(),
                           [&](std::int32_t i) { return world.items()[static_cast<std::size_t>(i)].weight; });
  if (search.item < 0) return out;
  double sum = 0;
  for (std::size_t r = 0; r < count; ++r) sum += 1 / static_cast<double>(r + 1);
  double left = draws.uniform() * sum;
  std::size_t place = 0;
  while (place + 1 < std::min(count, out.results.size() + 1) && left >= 1 / static_cast<double>(place + 1))
    left -= 1 / static_cast<double>(++place);
  out.results.insert(out.results.begin() + static_cast<std::ptrdiff_t>(std::min(place, out.results.size())), search.item);
  out.results.resize(std::min(out.results.size(), count));
  return out;
}

}  // namespace tradewind::runtime::shop
