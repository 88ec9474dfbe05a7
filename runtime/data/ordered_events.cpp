#include "runtime/data/ordered_events.h"

#include <algorithm>
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
  for (std::int64_t u = 0, event = 0; u < users(); ++u) {
    const std::int64_t end = offsets[index(u + 1)], begin = kept;
    for (; event < end; ++event) {
      if (!keeps(u, event)) continue;
      const std::size_t from = index(event), to = index(kept++);
      item[to] = item[from];
      if (!time.empty()) time[to] = time[from];
      if (!source.empty()) source[to] = source[from];
      if (!line.empty()) line[to] = line[from];
    }
    offsets[index(u)] = begin;
  }
  offsets.back() = kept;
  const auto cut = [&](auto& values) {
    if (!values.empty()) values.resize(index(kept));
  };
  cut(item), cut(time), cut(source), cut(line);
  return before - kept;
}

OrderedEvents order_events(EventArrays& events, std::int32_t users) {
  const std::vector<std::int32_t> user = std::exchange(events.user, {});
  OrderedEvents out{.user = {},
                    .offsets = {0},
                    .item = std::exchange(events.item, {}),
                    .time = std::exchange(events.time, {}),
                    .source = std::exchange(events.source, {}),
                    .line = std::exchange(events.line, {})};
  std::vector<std::int64_t> next(index(users));  // of each user: how many, then where its next event goes
  for (const std::int32_t u : user) ++next[index(u)];
  for (std::int32_t u = 0; u < users; ++u) {
    if (next[index(u)] == 0) continue;
    out.user.push_back(u);
    out.offsets.push_back(out.offsets.back() + std::exchange(next[index(u)], out.offsets.back()));
  }
  std::vector<std::int64_t> order(user.size());
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

std::shared_ptr<const Vocabulary> numbered(const Vocabulary& names, std::span<const std::int64_t> counts,
                                           const Vocabulary* existing) {
  Vocabulary ordered = Vocabulary::by_count(names, counts);
  if (existing == nullptr) return std::make_shared<const Vocabulary>(std::move(ordered));
  auto out = std::make_shared<Vocabulary>(*existing);
  for (std::int32_t i = 0; i < ordered.size(); ++i)
    if (out->find(ordered.name(i)) < 0) out->add(ordered.name(i), ordered.count(i));
  return out;
}

NumberedUsers EventsInMemory::number_users(std::span<const std::int64_t> counts, ColumnSpace&) {
  NumberedUsers out{.names = numbered(log_->users, counts, existing_), .number_of = std::vector<std::int32_t>(index(users()))};
  if (existing_ != nullptr) out.unknown = out.names->size() - existing_->size();
  for (std::int32_t u = 0; u < users(); ++u) out.number_of[index(u)] = out.names->find(log_->users.name(u));
  return out;
}

std::int64_t EventPartitions::events() {
  std::int64_t out = 0;
  each(Access::kRead, [&](const OrderedEvents& part) { out += part.events(); });
  return out;
}

std::int64_t drop_repeats(EventPartitions& events, const std::string& repeats, std::int32_t items) {
  if (repeats == "keep") return 0;
  // Stretches of events within which an item counts once; the last stretch that had an item.
  std::vector<std::int64_t> stretch_of(index(items), -1);
  std::int64_t stretch = -1, gone = 0;
  events.each(EventPartitions::Access::kChange, [&](OrderedEvents& part) {
    std::int64_t last_user = -1, last_time = 0;
    std::int32_t last_item = -1;
    require(repeats != "same_time" || part.time.size() == part.item.size(), "drop_repeats", "there are no times");
    gone += part.keep([&](std::int64_t user, std::int64_t event) {
      const std::int32_t item = part.item[index(event)];
      const std::int64_t time = repeats == "same_time" ? part.time[index(event)] : 0;
      const bool begins = std::exchange(last_user, user) != user;
      const bool in_a_row = !begins && last_item == item;
      if (std::exchange(last_time, time) != time || begins) ++stretch;
      last_item = item;
      if (repeats == "in_a_row") return !in_a_row;
      return std::exchange(stretch_of[index(item)], stretch) != stretch;
    });
  });
  return gone;
}

std::int64_t keep_core(EventPartitions& events, std::int64_t min_user_events, std::int64_t min_item_events,
                       std::int32_t items) {
  if (min_user_events <= 1 && min_item_events <= 1) return 0;
  std::vector<std::int64_t> count(index(items)), left(count.size());
  const auto add_to = [](std::vector<std::int64_t>& counts, const OrderedEvents& part) {
    for (const std::int32_t item : part.item) ++counts[index(item)];
  };
  events.each(EventPartitions::Access::kRead, [&](const OrderedEvents& part) { add_to(count, part); });
  std::int64_t dropped = 0;
  for (std::int64_t gone = -1; gone != 0; dropped += gone) {
    gone = 0;
    std::ranges::fill(left, 0);
    events.each(EventPartitions::Access::kChange, [&](OrderedEvents& part) {
      // keep() moves the offsets behind it: those of a user are read before its first event.
      std::int64_t last_user = -1, of_user = 0;
      gone += part.keep([&](std::int64_t user, std::int64_t event) {
        if (std::exchange(last_user, user) != user) of_user = part.offsets[index(user + 1)] - event;
        return of_user >= min_user_events && count[index(part.item[index(event)])] >= min_item_events;
      });
      add_to(left, part);
    });
    count.swap(left);
  }
  return dropped;
}

}  // namespace tradewind::runtime
