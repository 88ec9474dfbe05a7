// What happens in the demo shop, as small records that wait for their turn in the files. Times are seconds from the first
// midnight of the shop.
#pragma once

#include <cstdint>
#include <vector>

namespace tradewind::runtime::shop {

inline constexpr std::int64_t kHour = 3600, kHours = 24, kDay = kHours * kHour;

enum class EventKind : std::uint8_t { kView, kCart, kBuy, kRate, kReturn };

struct Event {
  std::int64_t time;
  std::int32_t customer, item;
  std::uint32_t session;  // of this customer, from 1; 0: outside of one
  float price;            // euros, of a purchase; else 0
  EventKind kind;
  std::uint8_t rating;  // 1 to 5, of a rating; else 0
};

/// An item shown in a slate of kSlate on the shop's first page.
inline constexpr int kSlate = 8;
struct Impression {
  std::int64_t time;
  std::int32_t customer, item;
  std::uint32_t session;
  float probability;      // of a click
  std::uint8_t position;  // from 0
  bool clicked;
};

/// A search for a category; `item`: what was clicked and viewed then, or -1.
struct Search {
  std::int64_t time;
  std::int32_t customer, item;
  std::uint32_t session, number;  // `number`: of this customer's searches, for the text
  std::int32_t category;
};

struct Review {
  std::int64_t time;
  std::int32_t customer, item;
  float content;  // how well the customer likes it, about standard normal
  std::uint8_t rating;
};

struct Question {
  std::int64_t time;
  std::int32_t customer, item;
  std::uint8_t intent;
};

/// What became of a promotion, sent or held back at `time`, within kPromotionDays.
struct Promotion {
  std::int64_t time;
  std::int32_t customer;
  float discount, spent;
  float without, with;                     // probability of a purchase, given the visits
  bool sent, bought_without, bought_with;  // what happened and what would have
};

/// What happened within an hour, or what is to happen on a day.
struct Records {
  std::vector<Event> events;
  std::vector<Impression> impressions;
  std::vector<Search> searches;
  std::vector<Review> reviews;
  std::vector<Question> questions;
  std::vector<Promotion> promotions;

  /// Calls visit(pointer to member) for the records of each kind.
  template <class Visit>
  static void each(const Visit& visit) {
    visit(&Records::events);
    visit(&Records::impressions);
    visit(&Records::searches);
    visit(&Records::reviews);
    visit(&Records::questions);
    visit(&Records::promotions);
  }
  void clear() {
    each([this](auto kind) { (this->*kind).clear(); });
  }
};

}  // namespace tradewind::runtime::shop
