#include "runtime/data/ordered_events.h"

#include <algorithm>
#include <numeric>
#include <utility>

#include "kernels/base/error.h"

namespace tradewind::runtime {
namespace {

std::size_t index(std::int64_t i) { return static_cast<std::size_t>(i); }

/// values[order[i]] for each i, where there are any.
template <class T>
void put_in_order(std::vector<T>& values, const std::vector<std::int64_t>& order) {
  if (values.empty()) return;
  std::vector<T> out(order.size());
  for (std::size_t i = 0; i < order.size(); ++i) out[i] = values[index(order[i])];
  values = std::move(out);
}

}  // namespace

std::int64_t OrderedEvents::keep(const std::function<bool(std::int64_t, std::int64_t)>& keeps) {
  std::int64_t kept = 0;
  const std::int64_t before = events();
  for (std::int64_t user = 0, event = 0; user < users(); ++user) {
    const std::int64_t end = offsets[index(user + 1)], begin = kept;
    for (; event < end; ++event) {
      if (!keeps(user, event)) continue;
      const std::size_t from = index(event), to = index(kept++);
      item[to] = item[from];
      if (!time.empty()) time[to] = time[from];
      if (!source.empty()) source[to] = source[from];
      if (!line.empty()) line[to] = line[from];
    }
    offsets[index(user)] = begin;
  }
  offsets.back() = kept;
  const auto cut = [&](auto& values) {
    if (!values.empty()) values.resize(index(kept));
  };
  cut(item), cut(time), cut(source), cut(line);
  return before - kept;
}

OrderedEvents order_events(EventLog& log) {
  const std::vector<std::int32_t> user = std::exchange(log.user, {});
  OrderedEvents out{.offsets = std::vector<std::int64_t>(index(log.users.size()) + 1),
                    .item = std::exchange(log.item, {}),
                    .time = std::exchange(log.time, {}),
                    .source = std::exchange(log.source, {}),
                    .line = std::exchange(log.line, {})};
  for (const std::int32_t u : user) ++out.offsets[index(u) + 1];
  std::partial_sum(out.offsets.begin(), out.offsets.end(), out.offsets.begin());
  std::vector<std::int64_t> next(out.offsets.begin(), out.offsets.end() - 1), order(user.size());
  for (std::size_t event = 0; event < user.size(); ++event)
    order[index(next[index(user[event])]++)] = static_cast<std::int64_t>(event);
  if (!out.time.empty()) {
    const auto earlier = [&](std::int64_t a, std::int64_t b) { return out.time[index(a)] < out.time[index(b)]; };
    for (std::int64_t u = 0; u < out.users(); ++u) {
      const auto begin = order.begin() + out.offsets[index(u)], end = order.begin() + out.offsets[index(u + 1)];
      if (!std::is_sorted(begin, end, earlier)) std::stable_sort(begin, end, earlier);
    }
  }
  put_in_order(out.item, order);
  put_in_order(out.time, order);
  put_in_order(out.source, order);
  put_in_order(out.line, order);
  return out;
}

std::int64_t drop_repeats(OrderedEvents& events, const std::string& repeats, std::int32_t items) {
  if (repeats == "keep") return 0;
  // Stretches of events within which an item counts once; the last stretch that had an item, and the last event met.
  std::vector<std::int64_t> stretch_of(index(items), -1);
  std::int64_t stretch = -1, last_user = -1, last_time = 0;
  std::int32_t last_item = -1;
  require(repeats != "same_time" || events.time.size() == events.item.size(), "drop_repeats", "there are no times");
  return events.keep([&](std::int64_t user, std::int64_t event) {
    const std::int32_t item = events.item[index(event)];
    const std::int64_t time = repeats == "same_time" ? events.time[index(event)] : 0;
    const bool begins = std::exchange(last_user, user) != user;
    const bool in_a_row = !begins && last_item == item;
    if (std::exchange(last_time, time) != time || begins) ++stretch;
    last_item = item;
    if (repeats == "in_a_row") return !in_a_row;
    return std::exchange(stretch_of[index(item)], stretch) != stretch;
  });
}

std::int64_t keep_core(OrderedEvents& events, std::int64_t min_user_events, std::int64_t min_item_events, std::int32_t items) {
  if (min_user_events <= 1 && min_item_events <= 1) return 0;
  std::int64_t dropped = 0;
  for (std::int64_t gone = -1; gone != 0; dropped += gone) {
    std::vector<std::int64_t> count(index(items));
    for (const std::int32_t item : events.item) ++count[index(item)];
    // keep() moves the offsets behind it: those of a user are read before its first event.
    std::int64_t last_user = -1, of_user = 0;
    gone = events.keep([&](std::int64_t user, std::int64_t event) {
      if (std::exchange(last_user, user) != user) of_user = events.offsets[index(user + 1)] - event;
      return of_user >= min_user_events && count[index(events.item[index(event)])] >= min_item_events;
    });
  }
  return dropped;
}

}  // namespace tradewind::runtime
