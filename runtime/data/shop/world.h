// What is true of the demo shop: its goods, the needs that bring people there, and how they choose.
//
// Views are a hidden Markov model with states (need, stage) and a taste that a customer keeps:
//   - A need is a row of kStages categories that are looked for one after the other, as a tent is followed by a sleeping bag.
//     Every category has its place in kNeedsOfCategory needs, so what comes next is not told by the last view alone, but by the
//     last two or three.
//   - A view is, with probability kBrowse, of any item, in proportion to `share`; else of one of the stage's category, in
//     proportion to weight x kOtherStyle where the item's style is not the customer's taste. Items that this customer has
//     viewed already are left out: everybody views an item once. Where a customer has viewed a whole category, it is any item.
//   - After a view the stage stays with probability kStay; else the next comes, or with probability kSkip the one after. Behind
//     the last stage another need begins: with probability kFollow one of the need's own successors (kSuccessorShares), else
//     any, in proportion to share x (1 + kSeason cos(2 pi (day - peak_day) / 365)) on the day of the view that opens it.
// So what an observer of the views can know of the next one is the forward recursion of this model (Rabiner, "A Tutorial on
// Hidden Markov Models", Proc. IEEE 77, 1989, section III.A), which tests/support/demo_shop_truth.cpp does.
#pragma once

#include <array>
#include <cstdint>
#include <span>
#include <string>
#include <vector>

namespace tradewind::runtime::shop {

inline constexpr int kCategories = 50;
inline constexpr int kStyles = 5;  // and as many tastes
inline constexpr int kAgeBands = 5;
inline constexpr int kStages = 5;
inline constexpr int kNeedsOfCategory = 2;
inline constexpr int kNeeds = kCategories / kStages * kNeedsOfCategory;
inline constexpr int kYear = 365;

inline constexpr double kBrowse = 0.03;
inline constexpr double kOtherStyle = 0.05;
inline constexpr double kStay = 0.1;
inline constexpr double kSkip = 0.02;
inline constexpr double kFollow = 0.2;
inline constexpr std::array<double, 3> kSuccessorShares{0.6, 0.3, 0.1};
inline constexpr double kSeason = 0.6;
inline constexpr double kTasteOfAge = 0.4;  // how many of an age band have its style for a taste; the others share the rest
inline constexpr double kPopularity = 1.0;  // weight of the r-th item of a category: r^-kPopularity

struct Item {
  std::int32_t category, style;
  double weight;   // in its category
  double share;    // of browsing views
  double quality;  // standard normal
  double price;    // euros
};

struct Need {
  std::array<std::int32_t, kStages> stages;  // categories
  std::array<std::int32_t, kSuccessorShares.size()> successors;
  double share;  // of needs that follow none, over the year
  double peak_day;
};

class World {
 public:
  World(std::uint64_t seed, std::int64_t items);

  std::uint64_t seed() const { return seed_; }
  const std::vector<Item>& items() const { return items_; }
  const std::vector<Need>& needs() const { return needs_; }
  const std::string& item_id(std::int64_t item) const { return ids_[static_cast<std::size_t>(item)]; }

  /// The need at place `u` in [0, 1) of the distribution of `day` (0: the first of January).
  std::int32_t need_at(std::int64_t day, double u) const;
  /// The item at place `u` in [0, 1) of a category as one of `taste` sees it, or of all.
  std::int32_t item_at(int category, int taste, double u) const;
  std::int32_t browsed_at(double u) const;
  std::span<const std::int32_t> items_of(int category) const;

  static double style_factor(int style, int taste) { return style == taste ? 1.0 : kOtherStyle; }

 private:
  void make_items(std::int64_t count);
  void make_needs();
  void add_up();

  std::uint64_t seed_;
  std::vector<Item> items_;
  std::vector<std::string> ids_;
  std::vector<Need> needs_;
  std::vector<std::int32_t> by_category_;
  std::array<std::size_t, kCategories + 1> begin_{};
  std::array<std::vector<double>, kStyles> sums_;  // running sums of weights in each category, in the order of by_category_
  std::vector<double> browse_sums_;
  std::vector<std::array<double, kNeeds>> need_sums_;  // a row a day of the year
};

}  // namespace tradewind::runtime::shop
