// A crowd of the demo shop's customers, day by day.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "runtime/data/shop/choices.h"
#include "runtime/data/shop/draws.h"
#include "runtime/data/shop/records.h"
#include "runtime/data/shop/world.h"

namespace tradewind::runtime::shop {

struct Scale {
  std::int64_t customers, days;
  double views;  // of one customer in all the days, about
};

/// Customers [first, first + count). What they do depends on them alone, not on how customers are divided into crowds.
class Crowd {
 public:
  Crowd(const World& world, const Scale& scale, std::int64_t first, std::int64_t count);

  /// Appends what happens in the days [begin, begin + hours.size() / kHours) to the hour in which it does. Days come one after
  /// the other, from 0.
  void live(std::int64_t begin, std::span<Records> hours);
  /// Appends per customer the day of leaving, or -1.
  void append_left(std::vector<std::int32_t>& out) const;

 private:
  struct Customer {
    std::vector<std::int32_t> seen;  // items viewed, oldest first
    std::int64_t clock = -kDay;      // of the last view
    std::uint64_t view_block = 0;
    std::uint32_t sessions = 0, searches = 0;
    std::int32_t need = -1, left = -1, joined = 0;
    float rate = 0, sensitivity = 0, churn_logit = 0;
    std::uint8_t stage = 0, taste = 0, bad = 0;  // bad: experiences of this month
    bool entered = false;                        // this stage has had no view yet
    Promotion promotion{};                       // of this month, while it goes on
    bool promoted = false;
  };

  void live_day(std::int64_t day);
  void visit(Customer& who, std::int64_t customer, std::int64_t start);
  std::int32_t choose_item(const Customer& who, Draws& draws, bool& browsed) const;
  std::int32_t choose_unseen(const Customer& who, int category, Draws& draws) const;
  void open_need(Customer& who, std::int64_t day, Draws& draws) const;
  void leave_or_stay(std::int64_t day);

  // What goes on beside the views (conduct.cpp); views do not depend on it but through who leaves.
  std::int64_t conduct(Customer& who, std::int64_t customer, std::int32_t item, std::int64_t time, bool decides);
  static bool decide(Customer& who, const Item& goods, bool promoted, double u);
  void after_purchase(Customer& who, std::int64_t customer, std::int32_t item, std::int64_t time, Draws& draws);
  void show_slate(const Customer& who, std::int64_t customer, std::int64_t time);
  void search(Customer& who, std::int64_t customer, std::int32_t item, std::int64_t time);
  void give_promotions(std::int64_t day);
  void end_promotions(std::int64_t day);

  /// Where what happens at `time` belongs; null after the last day.
  Records* at(std::int64_t time);
  template <class Record>
  void post(std::vector<Record> Records::*kind, const Record& record) {
    if (Records* place = at(record.time)) (place->*kind).push_back(record);
  }

  const World& world_;
  Scale scale_;
  std::int64_t first_;
  double views_a_visit_, visits_a_day_;
  std::vector<Customer> customers_;
  std::int64_t begin_ = 0;
  std::span<Records> hours_;
  std::vector<Records> later_;  // a ring of days: what happens on them, because of what happened before
};

}  // namespace tradewind::runtime::shop
