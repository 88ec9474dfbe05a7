#include "runtime/data/shop/world.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <numbers>
#include <numeric>

#include "runtime/data/shop/catalogue.h"
#include "runtime/data/shop/draws.h"
#include "runtime/data/shuffle.h"

namespace tradewind::runtime::shop {
namespace {

/// The first place whose running sum is above u times the last.
std::size_t place(std::span<const double> sums, double u) {
  const auto at = std::ranges::upper_bound(sums, u * sums.back());
  return static_cast<std::size_t>(std::min<std::ptrdiff_t>(at - sums.begin(), std::ssize(sums) - 1));
}

template <class Value>
void shuffle(std::vector<Value>& values, Draws& draws) {
  for (std::size_t i = values.size(); i > 1; --i)
    std::swap(values[i - 1], values[static_cast<std::size_t>(draws.below(static_cast<std::int64_t>(i)))]);
}

}  // namespace

World::World(std::uint64_t seed, std::int64_t items) : seed_(seed) {
  make_needs();
  make_items(items);
  add_up();
}

void World::make_needs() {
  Draws draws(seed_, Purpose::kOfNeeds, 0);
  std::vector<std::int32_t> categories(kCategories);
  std::iota(categories.begin(), categories.end(), 0);
  for (int n = 0; n < kNeeds; ++n) {
    const int cut = n % (kCategories / kStages);
    if (cut == 0) shuffle(categories, draws);  // each shuffle of all categories is cut into needs
    Need need{};
    std::copy_n(categories.begin() + cut * kStages, kStages, need.stages.begin());
    need.share = std::pow(n % 7 + 2.0, -0.7);
    need.peak_day = draws.uniform() * kYear;
    std::vector<std::int32_t> others(kNeeds);
    std::iota(others.begin(), others.end(), 0);
    others.erase(others.begin() + n);
    shuffle(others, draws);
    std::copy_n(others.begin(), need.successors.size(), need.successors.begin());
    needs_.push_back(need);
  }
  double all = 0;
  for (const Need& need : needs_) all += need.share;
  for (Need& need : needs_) need.share /= all;
}

void World::make_items(std::int64_t count) {
  std::array<double, kCategories> share{};
  for (const Need& need : needs_)
    for (const int category : need.stages) share[static_cast<std::size_t>(category)] += need.share / kStages;
  std::array<double, kCategories> weight{};
  for (std::int64_t i = 0; i < count; ++i) {
    const std::int64_t slot = permute(seed_, static_cast<std::int64_t>(Purpose::kOfItems), count, i);
    const auto category = static_cast<std::int32_t>(slot % kCategories);
    const std::int64_t in_category = (count - category + kCategories - 1) / kCategories;
    const std::int64_t within = slot / kCategories;
    const std::int64_t rank = permute(seed_, category, in_category, within);
    Draws draws(seed_, Purpose::kOfItems, static_cast<std::uint64_t>(i));
    Item item{.category = category,
              .style = static_cast<std::int32_t>((within + category) % kStyles),
              .weight = std::pow(static_cast<double>(rank + 1), -kPopularity),
              .share = 0,
              .quality = draws.normal(),
              .price = 0};
    item.price = made_up_price(item, draws.normal());
    weight[static_cast<std::size_t>(category)] += item.weight;
    ids_.push_back(stock_number(seed_, i));
    items_.push_back(item);
  }
  for (Item& item : items_) {
    const auto category = static_cast<std::size_t>(item.category);
    item.share = share[category] * item.weight / weight[category];
  }
}

void World::add_up() {
  by_category_.resize(items_.size());
  std::iota(by_category_.begin(), by_category_.end(), 0);
  std::ranges::stable_sort(by_category_, {}, [&](std::int32_t i) { return items_[static_cast<std::size_t>(i)].category; });
  for (int taste = 0; taste < kStyles; ++taste) {
    std::vector<double>& sums = sums_[static_cast<std::size_t>(taste)];
    for (std::size_t at = 0; at < by_category_.size(); ++at) {
      const Item& item = items_[static_cast<std::size_t>(by_category_[at])];
      const bool first = at == 0 || items_[static_cast<std::size_t>(by_category_[at - 1])].category != item.category;
      if (first) begin_[static_cast<std::size_t>(item.category)] = at;
      sums.push_back((first ? 0 : sums.back()) + item.weight * style_factor(item.style, taste));
    }
  }
  begin_[kCategories] = by_category_.size();
  for (const Item& item : items_) browse_sums_.push_back((browse_sums_.empty() ? 0 : browse_sums_.back()) + item.share);
  for (int day = 0; day < kYear; ++day) {
    double sum = 0;
    std::array<double, kNeeds>& sums = need_sums_.emplace_back();
    for (std::size_t n = 0; n < needs_.size(); ++n) {
      const double phase = 2 * std::numbers::pi * (day - needs_[n].peak_day) / kYear;
      sums[n] = sum += needs_[n].share * (1 + kSeason * std::cos(phase));
    }
  }
}

std::int32_t World::need_at(std::int64_t day, double u) const {
  return static_cast<std::int32_t>(place(need_sums_[static_cast<std::size_t>(day % kYear)], u));
}

std::span<const std::int32_t> World::items_of(int category) const {
  const std::size_t begin = begin_[static_cast<std::size_t>(category)];
  return std::span(by_category_).subspan(begin, begin_[static_cast<std::size_t>(category) + 1] - begin);
}

std::int32_t World::item_at(int category, int taste, double u) const {
  const std::size_t begin = begin_[static_cast<std::size_t>(category)];
  const std::size_t count = begin_[static_cast<std::size_t>(category) + 1] - begin;
  return by_category_[begin + place(std::span(sums_[static_cast<std::size_t>(taste)]).subspan(begin, count), u)];
}

std::int32_t World::browsed_at(double u) const { return static_cast<std::int32_t>(place(browse_sums_, u)); }

}  // namespace tradewind::runtime::shop
