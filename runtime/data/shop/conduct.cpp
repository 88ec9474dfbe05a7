// What customers of the demo shop do beside looking: buy, rate, return, ask, search, click, and what promotions do to them.
//
// Every view has random numbers of its own (kConductBlocks) for this, whether they are used or not: what was bought before does
// not move them, so "what would have been bought without the promotion" is well defined and known.
#include <algorithm>
#include <array>
#include <cmath>

#include "runtime/data/shop/crowd.h"
#include "runtime/data/shop/questions.h"

namespace tradewind::runtime::shop {
namespace {

constexpr std::uint64_t kConductBlocks = 8, kSlateBlocks = 32;
constexpr double kCart = 0.06;  // of a view that no purchase follows
constexpr double kRate = 0.45, kReview = 0.6;
constexpr double kAskBefore = 0.015, kAskAfter = 0.06;
constexpr double kSearch = 0.2, kSearchInVain = 0.12;
constexpr double kSlateShown = 0.8, kExplored = 0.3;
constexpr std::array<float, 3> kDiscounts{0.1F, 0.2F, 0.3F};

}  // namespace

/// What follows from a view of `item`; `decides`: a stage is over, and whether something is bought. Gives the time from which
/// the customer looks on.
std::int64_t Crowd::conduct(Customer& who, std::int64_t customer, std::int32_t item, std::int64_t time, bool decides) {
  Draws draws(world_.seed(), Purpose::kOfConduct, static_cast<std::uint64_t>(customer), kConductBlocks * who.seen.size());
  const Item& goods = world_.items()[static_cast<std::size_t>(item)];
  const double u = draws.uniform();
  const bool promoted = who.promoted && time >= who.promotion.time;
  const bool buy = decides && decide(who, goods, promoted, u);
  const bool cart = draws.chance(kCart) || buy;
  const auto id = static_cast<std::int32_t>(customer);
  if (draws.chance(kAskBefore)) {
    const std::uint8_t intent = asked_before(draws.uniform());
    post(&Records::questions, {.time = time + 5 + draws.below(30), .customer = id, .item = item, .intent = intent});
  }
  if (!cart) return time;
  Event event{.time = time + 5 + draws.below(40),
              .customer = id,
              .item = item,
              .session = who.sessions,
              .price = 0,
              .kind = EventKind::kCart,
              .rating = 0};
  post(&Records::events, event);
  if (!buy) return event.time;
  event.time += 20 + draws.below(160);
  event.kind = EventKind::kBuy;
  event.price = static_cast<float>(goods.price);
  if (promoted && who.promotion.sent) event.price *= 1 - who.promotion.discount;
  if (promoted) who.promotion.spent += event.price;
  post(&Records::events, event);
  after_purchase(who, customer, item, event.time, draws);
  return event.time;
}

/// Whether it is bought; `promoted`: while this month's promotion goes on, which notes what would have been bought.
bool Crowd::decide(Customer& who, const Item& goods, bool promoted, double u) {
  const double full = purchase_probability(goods, who.taste, who.sensitivity);
  Promotion& promotion = who.promotion;
  if (!promoted) return u < full;
  const double less = discounted_probability(full, who.sensitivity, promotion.discount);
  promotion.bought_without = promotion.bought_without || u < full;
  promotion.bought_with = promotion.bought_with || u < less;
  promotion.without = static_cast<float>(1 - (1 - promotion.without) * (1 - full));
  promotion.with = static_cast<float>(1 - (1 - promotion.with) * (1 - less));
  return u < (promotion.sent ? less : full);
}

void Crowd::after_purchase(Customer& who, std::int64_t customer, std::int32_t item, std::int64_t time, Draws& draws) {
  const Item& goods = world_.items()[static_cast<std::size_t>(item)];
  const auto id = static_cast<std::int32_t>(customer);
  const double content = contentment(goods, who.taste, draws.normal());
  const std::uint8_t rating = rating_of(content);
  const auto days_after = [&](std::int64_t least, std::int64_t more) {
    const std::int64_t day = time / kDay + least + draws.below(more);
    return day * kDay + time_of_visit(draws.uniform());
  };
  const std::int64_t rated = days_after(3, 11), returned = days_after(5, 16), asked = days_after(1, 6);
  if (draws.chance(kRate)) {
    post(&Records::events,
         {.time = rated, .customer = id, .item = item, .session = 0, .price = 0, .kind = EventKind::kRate, .rating = rating});
    if (draws.chance(kReview))
      post(&Records::reviews,
           {.time = rated, .customer = id, .item = item, .content = static_cast<float>(content), .rating = rating});
  }
  const bool returns = draws.chance(return_probability(content));
  if (returns)
    post(&Records::events,
         {.time = returned, .customer = id, .item = item, .session = 0, .price = 0, .kind = EventKind::kReturn, .rating = 0});
  if (draws.chance(kAskAfter)) {
    const std::uint8_t intent = asked_after(draws.uniform());
    post(&Records::questions, {.time = asked, .customer = id, .item = item, .intent = intent});
  }
  if (returns || rating <= 2) who.bad = static_cast<std::uint8_t>(std::min(who.bad + 1, 255));
}

/// Each place of the slate has a popular item, or with probability kExplored any.
void Crowd::show_slate(const Customer& who, std::int64_t customer, std::int64_t time) {
  Draws draws(world_.seed(), Purpose::kOfImpressions, static_cast<std::uint64_t>(customer), kSlateBlocks * who.sessions);
  if (!draws.chance(kSlateShown)) return;
  const auto& stages = world_.needs()[static_cast<std::size_t>(who.need)].stages;
  std::array<std::int32_t, kSlate> shown{};
  for (int position = 0; position < kSlate; ++position) {
    std::int32_t item = -1;
    do
      item = draws.chance(kExplored) ? static_cast<std::int32_t>(draws.below(std::ssize(world_.items())))
                                     : world_.browsed_at(draws.uniform());
    while (std::find(shown.begin(), shown.begin() + position, item) != shown.begin() + position);
    shown[static_cast<std::size_t>(position)] = item;
    const Item& goods = world_.items()[static_cast<std::size_t>(item)];
    const bool needed = std::ranges::find(stages, goods.category) != stages.end();
    const double probability = click_probability(goods, position, who.taste, who.sensitivity, needed);
    post(&Records::impressions, {.time = time,
                                 .customer = static_cast<std::int32_t>(customer),
                                 .item = item,
                                 .session = who.sessions,
                                 .probability = static_cast<float>(probability),
                                 .position = static_cast<std::uint8_t>(position),
                                 .clicked = draws.chance(probability)});
  }
}

/// Before the view of `item` at `time`, which opens a stage.
void Crowd::search(Customer& who, std::int64_t customer, std::int32_t item, std::int64_t time) {
  Draws draws(world_.seed(), Purpose::kOfSearches, static_cast<std::uint64_t>(customer), who.seen.size());
  if (!draws.chance(kSearch)) return;
  const bool in_vain = draws.chance(kSearchInVain);
  Search search{.time = time - 4 - draws.below(9),
                .customer = static_cast<std::int32_t>(customer),
                .item = in_vain ? -1 : item,
                .session = who.sessions,
                .number = who.searches++,
                .category = world_.items()[static_cast<std::size_t>(item)].category};
  post(&Records::searches, search);
}

void Crowd::give_promotions(std::int64_t day) {
  for (std::size_t i = 0; i < customers_.size(); ++i) {
    Customer& who = customers_[i];
    who.promoted = who.left < 0 && who.joined < day;
    if (!who.promoted) continue;
    Draws draws(world_.seed(), Purpose::kOfPromotions, static_cast<std::uint64_t>(first_) + i, static_cast<std::uint64_t>(day));
    who.promotion = {.time = day * kDay + 6 * kHour + draws.below(2 * kHour),
                     .customer = static_cast<std::int32_t>(first_ + static_cast<std::int64_t>(i)),
                     .discount = kDiscounts[static_cast<std::size_t>(draws.below(std::ssize(kDiscounts)))],
                     .spent = 0,
                     .without = 0,
                     .with = 0,
                     .sent = draws.chance(kSentShare),
                     .bought_without = false,
                     .bought_with = false};
  }
}

/// They are reported in the hour in which they end, in the order in which they were given.
void Crowd::end_promotions(std::int64_t day) {
  Records& now = hours_[static_cast<std::size_t>((day - begin_) * kHours)];
  for (Customer& who : customers_) {
    if (who.promoted) now.promotions.push_back(who.promotion);
    who.promoted = false;
  }
}

}  // namespace tradewind::runtime::shop
