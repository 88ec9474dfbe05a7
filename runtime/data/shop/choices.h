// What is true of a customer of the demo shop, and how customers decide: the formulas behind the log, each a function of what
// it is given. Items come from world.h, which has how customers choose what to view.
#pragma once

#include <cstdint>

#include "runtime/data/shop/draws.h"
#include "runtime/data/shop/world.h"

namespace tradewind::runtime::shop {

inline constexpr int kCountries = 6, kChannels = 4;

struct Traits {
  std::int32_t taste, age_band, country, channel;
  bool chinese, newsletter;
  double activity;      // visits, relative to the average customer's
  double sensitivity;   // to prices, in [0, 1]
  double churn_logit;   // of leaving within a month that had no bad experience
  std::int64_t joined;  // day; negative: before the first
};
Traits traits_of(std::uint64_t seed, std::int64_t customer, std::int64_t days);

inline constexpr std::int64_t kMonth = 30;     // days between two times at which customers may leave and promotions are given
inline constexpr double kBadExperience = 0.9;  // added to the logit of leaving for each return or rating of 1 or 2

double logistic(double x);

/// Of a purchase at the full price, where a stage of a need ends.
double purchase_probability(const Item& item, std::int32_t taste, double sensitivity);

inline constexpr std::int64_t kPromotionDays = 14;
inline constexpr double kSentShare = 0.5;  // of promotions; the others are held back, at random
/// Of a purchase with a discount in (0, 1): more for those who look at prices.
double discounted_probability(double full_price, double sensitivity, double discount);

/// Of a click on an item at `position` (from 0) of a slate: it is looked at with probability 1 / (1 + position / 2), and
/// clicked then with the logistic of its relevance. `needed`: its category is one of the customer's need.
double click_probability(const Item& item, int position, std::int32_t taste, double sensitivity, bool needed);

/// How well a buyer likes an item: its quality, its style, and luck.
double contentment(const Item& item, std::int32_t taste, double luck);
std::uint8_t rating_of(double content);
double return_probability(double content);

/// Visits on a day, relative to the average: of the week (the first of January 2025 is a Wednesday) and of the year.
double busy(std::int64_t day);
/// The second of a day at which a visit begins, from `u` in (0, 1): lunch and evening are busy, the night is not.
std::int64_t time_of_visit(double u);

}  // namespace tradewind::runtime::shop
