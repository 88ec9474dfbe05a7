#include "runtime/data/shop/choices.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <numbers>

#include "runtime/data/shop/catalogue.h"
#include "runtime/data/shop/records.h"

namespace tradewind::runtime::shop {

double logistic(double x) { return 1 / (1 + std::exp(-x)); }

Traits traits_of(std::uint64_t seed, std::int64_t customer, std::int64_t days) {
  Draws draws(seed, Purpose::kOfTraits, static_cast<std::uint64_t>(customer));
  Traits out{};
  out.age_band = static_cast<std::int32_t>(draws.below(kAgeBands));
  out.taste = draws.chance(kTasteOfAge) ? out.age_band
                                        : static_cast<std::int32_t>((out.age_band + 1 + draws.below(kStyles - 1)) % kStyles);
  out.country = static_cast<std::int32_t>(draws.below(kCountries));
  out.chinese = out.country >= 4 && draws.chance(0.95);
  out.channel = static_cast<std::int32_t>(draws.below(kChannels));
  out.newsletter = draws.chance(0.45);
  out.activity = std::exp(0.5 * draws.normal() - 0.125);
  out.sensitivity = draws.uniform();
  out.churn_logit = -4.3 + 0.35 * out.channel - 0.5 * (out.newsletter ? 1 : 0) + 0.8 * (out.sensitivity - 0.5);
  out.joined = draws.chance(0.75) ? -1 - draws.below(900) : draws.below(days);
  return out;
}

namespace {

/// How dear an item is for what it is.
double dearness(const Item& item) { return std::log(item.price / typical_price(item.category)); }

}  // namespace

double purchase_probability(const Item& item, std::int32_t taste, double sensitivity) {
  return logistic(-1.9 + 0.5 * item.quality + (item.style == taste ? 0.8 : 0.0) - 2 * sensitivity * dearness(item));
}

double discounted_probability(double full_price, double sensitivity, double discount) {
  return full_price + (1 - full_price) * std::min(0.9, 2.5 * sensitivity * discount);
}

double click_probability(const Item& item, int position, std::int32_t taste, double sensitivity, bool needed) {
  const double relevance =
      -2.4 + 0.4 * item.quality + (item.style == taste ? 1.5 : 0.0) + (needed ? 1.0 : 0.0) - sensitivity * dearness(item);
  return logistic(relevance) / (1 + 0.5 * position);
}

double contentment(const Item& item, std::int32_t taste, double luck) {
  return 0.8 * item.quality + (item.style == taste ? 0.3 : -0.9) + 0.6 * luck;
}

std::uint8_t rating_of(double content) { return static_cast<std::uint8_t>(std::clamp(std::lround(3.6 + content), 1L, 5L)); }

double return_probability(double content) { return logistic(-2.6 - 1.1 * content); }

double busy(std::int64_t day) {
  constexpr std::array<double, 7> kWeek{0.97, 0.94, 0.92, 1.05, 1.15, 1.03, 0.94};
  return kWeek[static_cast<std::size_t>(day % 7)] *
         (1 + 0.25 * std::cos(2 * std::numbers::pi * static_cast<double>(day % kYear - 345) / kYear));
}

std::int64_t time_of_visit(double u) {
  constexpr std::array<double, kHours> kWeights{4,  2,  1,  1,  1,  2,  6,  14, 22, 28, 32, 38,
                                                46, 40, 34, 32, 34, 40, 50, 62, 66, 56, 34, 14};
  double sum = 0;
  for (const double w : kWeights) sum += w;
  double left = u * sum;
  for (std::size_t hour = 0; hour < kWeights.size(); ++hour) {
    if (left < kWeights[hour]) return static_cast<std::int64_t>((static_cast<double>(hour) + left / kWeights[hour]) * kHour);
    left -= kWeights[hour];
  }
  return kDay - 1;
}

}  // namespace tradewind::runtime::shop
