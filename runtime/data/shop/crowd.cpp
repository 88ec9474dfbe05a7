#include "runtime/data/shop/crowd.h"

#include <algorithm>
#include <cmath>

namespace tradewind::runtime::shop {
namespace {

constexpr double kShortestVisit = 5;   // views, on average
constexpr double kBusiestDays = 0.35;  // of all days; where customers view more, visits get longer
constexpr double kActiveShare = 0.72;  // of days on which a customer is there, having joined and not left; measured
constexpr int kMostViews = 60;         // in a visit
constexpr std::int64_t kBetweenVisits = 1800;
constexpr std::int64_t kRing = 64;  // days: more than lie between a view and the last that follows from it

}  // namespace

Crowd::Crowd(const World& world, const Scale& scale, std::int64_t first, std::int64_t count)
    : world_(world), scale_(scale), first_(first), later_(kRing) {
  const double a_day = scale.views / (static_cast<double>(scale.days) * kActiveShare);
  views_a_visit_ = std::max(kShortestVisit, a_day / kBusiestDays);
  visits_a_day_ = a_day / views_a_visit_;
  customers_.reserve(static_cast<std::size_t>(count));
  for (std::int64_t i = 0; i < count; ++i) {
    const Traits traits = traits_of(world.seed(), first + i, scale.days);
    Customer& who = customers_.emplace_back();
    who.joined = static_cast<std::int32_t>(traits.joined);
    who.rate = static_cast<float>(visits_a_day_ * traits.activity);
    who.sensitivity = static_cast<float>(traits.sensitivity);
    who.churn_logit = static_cast<float>(traits.churn_logit);
    who.taste = static_cast<std::uint8_t>(traits.taste);
  }
}

Records* Crowd::at(std::int64_t time) {
  const std::int64_t day = time / kDay, hour = time / kHour - begin_ * kHours;
  if (day >= scale_.days) return nullptr;
  return hour < std::ssize(hours_) ? &hours_[static_cast<std::size_t>(hour)] : &later_[static_cast<std::size_t>(day % kRing)];
}

void Crowd::live(std::int64_t begin, std::span<Records> hours) {
  begin_ = begin;
  hours_ = hours;
  for (std::int64_t day = begin; day < begin + std::ssize(hours) / kHours; ++day) live_day(day);
  hours_ = {};
}

void Crowd::live_day(std::int64_t day) {
  Records& due = later_[static_cast<std::size_t>(day % kRing)];
  Records::each([&](auto kind) {
    for (const auto& record : due.*kind) post(kind, record);
  });
  due.clear();
  if (day > 0 && day % kMonth == 0) leave_or_stay(day);
  if (day % kMonth == kPromotionDays) end_promotions(day);
  if (day % kMonth == 0 && day + kPromotionDays < scale_.days) give_promotions(day);
  const double rate = busy(day);
  for (std::size_t i = 0; i < customers_.size(); ++i) {
    Customer& who = customers_[i];
    if (who.left >= 0 || who.joined > day) continue;
    const std::int64_t customer = first_ + static_cast<std::int64_t>(i);
    Draws draws(world_.seed(), Purpose::kOfVisits, static_cast<std::uint64_t>(customer), static_cast<std::uint64_t>(day));
    if (!draws.chance(who.rate * rate)) continue;
    visit(who, customer, std::max(day * kDay + time_of_visit(draws.uniform()), who.clock + kBetweenVisits));
  }
}

void Crowd::leave_or_stay(std::int64_t day) {
  for (std::size_t i = 0; i < customers_.size(); ++i) {
    Customer& who = customers_[i];
    if (who.left >= 0 || who.joined > day - kMonth) continue;
    Draws draws(world_.seed(), Purpose::kOfChurn, static_cast<std::uint64_t>(first_) + i, static_cast<std::uint64_t>(day));
    if (draws.chance(logistic(who.churn_logit + kBadExperience * who.bad))) who.left = static_cast<std::int32_t>(day);
    who.bad = 0;
  }
}

void Crowd::visit(Customer& who, std::int64_t customer, std::int64_t start) {
  Draws draws(world_.seed(), Purpose::kOfViews, static_cast<std::uint64_t>(customer), who.view_block);
  const int views = 1 + static_cast<int>(std::min<double>(draws.exponential() * (views_a_visit_ - 0.5), kMostViews - 1));
  ++who.sessions;
  std::int64_t time = start + 15 + draws.below(20);
  for (int v = 0; v < views && std::ssize(who.seen) < std::ssize(world_.items()); ++v) {
    if (who.need < 0 || who.stage >= kStages) open_need(who, time / kDay, draws);
    if (v == 0) show_slate(who, customer, start);
    bool browsed = false;
    const std::int32_t item = choose_item(who, draws, browsed);
    if (who.entered && !browsed) search(who, customer, item, time);
    who.entered = false;
    who.seen.push_back(item);
    who.clock = time;
    post(&Records::events, {.time = time,
                            .customer = static_cast<std::int32_t>(customer),
                            .item = item,
                            .session = who.sessions,
                            .price = 0,
                            .kind = EventKind::kView,
                            .rating = 0});
    const bool moves_on = !draws.chance(kStay);
    if (moves_on) {
      who.stage = static_cast<std::uint8_t>(who.stage + (draws.chance(kSkip) ? 2 : 1));
      who.entered = true;
    }
    time = conduct(who, customer, item, time, moves_on && !browsed);
    time += 15 + static_cast<std::int64_t>(std::min(60 * draws.exponential(), 600.0));
  }
  who.view_block = draws.next_block();
}

void Crowd::open_need(Customer& who, std::int64_t day, Draws& draws) const {
  who.stage = 0;
  who.entered = true;
  if (who.need < 0 || !draws.chance(kFollow)) {
    who.need = world_.need_at(day, draws.uniform());
    return;
  }
  double left = draws.uniform();
  std::size_t next = 0;
  while (next + 1 < kSuccessorShares.size() && left >= kSuccessorShares[next]) left -= kSuccessorShares[next++];
  who.need = world_.needs()[static_cast<std::size_t>(who.need)].successors[next];
}

std::int32_t Crowd::choose_item(const Customer& who, Draws& draws, bool& browsed) const {
  const std::int32_t category = world_.needs()[static_cast<std::size_t>(who.need)].stages[who.stage];
  browsed = draws.chance(kBrowse);
  std::int32_t item = -1;
  if (!browsed) item = choose_unseen(who, category, draws);
  if (item < 0) {
    browsed = true;
    item = choose_unseen(who, -1, draws);
  }
  return item;
}

/// Of a category, or with -1 of all items; -1 where there is none. To draw until one is unseen and to draw from the unseen are
/// the same distribution; the second is slower, and for those who have seen nearly all.
std::int32_t Crowd::choose_unseen(const Customer& who, int category, Draws& draws) const {
  const auto seen = [&](std::int32_t item) { return std::ranges::find(who.seen, item) != who.seen.end(); };
  for (int attempt = 0; attempt < 24; ++attempt) {
    const double u = draws.uniform();
    const std::int32_t item = category < 0 ? world_.browsed_at(u) : world_.item_at(category, who.taste, u);
    if (!seen(item)) return item;
  }
  std::vector<std::int32_t> unseen;
  std::vector<double> sums;
  const auto add = [&](std::int32_t i) {
    if (seen(i)) return;
    const Item& item = world_.items()[static_cast<std::size_t>(i)];
    const double weight = category < 0 ? item.share : item.weight * World::style_factor(item.style, who.taste);
    unseen.push_back(i);
    sums.push_back((sums.empty() ? 0 : sums.back()) + weight);
  };
  if (category < 0)
    for (std::int32_t i = 0; i < std::ssize(world_.items()); ++i) add(i);
  else
    for (const std::int32_t i : world_.items_of(category)) add(i);
  if (unseen.empty()) return -1;
  const auto place = std::ranges::upper_bound(sums, draws.uniform() * sums.back()) - sums.begin();
  return unseen[static_cast<std::size_t>(std::min<std::ptrdiff_t>(place, std::ssize(unseen) - 1))];
}

void Crowd::append_left(std::vector<std::int32_t>& out) const {
  for (const Customer& who : customers_) out.push_back(who.left);
}

}  // namespace tradewind::runtime::shop
