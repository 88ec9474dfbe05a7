#include <fmt/format.h>
#include <xxhash.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <limits>
#include <numeric>

#include "kernels/base/error.h"
#include "kernels/base/philox.h"
#include "runtime/data/corpus_parts.h"
#include "runtime/data/ordered_events.h"
#include "runtime/data/time_parse.h"

namespace tradewind::runtime {
namespace {

constexpr std::uint64_t kRatioPurpose = 0x53504C49542D52;  // "SPLIT-R"
constexpr std::uint64_t kUserPurpose = 0x53504C49542D55;   // "SPLIT-U"

std::size_t index(std::int64_t i) { return static_cast<std::size_t>(i); }

std::uint64_t hash_of(std::string_view name) { return XXH3_64bits(name.data(), name.size()); }

/// 64 random bits of two names.
std::uint64_t draw(std::uint64_t seed, std::uint64_t purpose, std::uint64_t a, std::uint64_t b) {
  const auto block = kernels::philox(kernels::philox_key(seed, purpose),
                                     {{static_cast<std::uint32_t>(a), static_cast<std::uint32_t>(a >> 32),
                                       static_cast<std::uint32_t>(b), static_cast<std::uint32_t>(b >> 32)}});
  return std::uint64_t{block.w[1]} << 32 | block.w[0];
}

/// floor(n fraction), where 0.3 is three tenths although its float64 is a little less.
std::int64_t part_of(std::int64_t n, double fraction) {
  return static_cast<std::int64_t>(std::floor(static_cast<double>(n) * fraction + 1e-9));
}

std::string leave_one_out(Interactions& data) {
  const auto parts = data.part.writable();
  std::int64_t short_ones = 0;
  for (std::size_t user = 0; user + 1 < data.offsets.size(); ++user) {
    const std::size_t begin = index(data.offsets[user]), end = index(data.offsets[user + 1]);
    if (end - begin < 3) {
      ++short_ones;
      continue;
    }
    parts[end - 2] = Part::kValidation;
    parts[end - 1] = Part::kTest;
  }
  return short_ones == 0
             ? "leave one out"
             : fmt::format("leave one out; {} users with fewer than 3 events are training only", with_commas(short_ones));
}

std::string by_ratio(Interactions& data, const InteractionsConfig& config, std::uint64_t seed) {
  std::vector<std::uint64_t> item_hash(index(data.items->size()));
  for (std::int32_t i = 0; i < data.items->size(); ++i) item_hash[index(i)] = hash_of(data.items->name(i));
  const auto parts = data.part.writable();
  // An event is known by its user, its item, and which of the user's events with it it is.
  std::vector<std::int64_t> occurrences(item_hash.size());
  std::vector<std::uint64_t> key;
  std::vector<std::size_t> order;
  for (std::int32_t user = 0; user < data.users->size(); ++user) {
    const auto items = data.items_of(user);
    const std::uint64_t user_hash = hash_of(data.users->name(user));
    key.clear();
    for (const std::int32_t item : items)
      key.push_back(draw(seed, kRatioPurpose + static_cast<std::uint64_t>(occurrences[index(item)]++), user_hash,
                         item_hash[index(item)]));
    for (const std::int32_t item : items) occurrences[index(item)] = 0;
    order.resize(items.size());
    std::iota(order.begin(), order.end(), std::size_t{0});
    std::ranges::sort(order, [&](std::size_t a, std::size_t b) { return key[a] != key[b] ? key[a] < key[b] : a < b; });
    const auto n = static_cast<std::int64_t>(items.size());
    const std::int64_t test = part_of(n, config.test_fraction), validation = part_of(n, config.validation_fraction);
    for (std::int64_t i = 0; i < test + validation; ++i)
      parts[index(data.offsets[index(user)]) + order[index(i)]] = i < test ? Part::kTest : Part::kValidation;
  }
  return fmt::format("of each user at random {:g} to validation and {:g} to test, seed {}", config.validation_fraction,
                     config.test_fraction, seed);
}

/// The time that `rank` others are not above: of 16 bits after the other those are counted that agree so far.
std::int64_t nth_time(std::span<const std::int64_t> times, std::int64_t rank) {
  constexpr std::uint64_t kSign = std::uint64_t{1} << 63;
  constexpr int kBits = 16;
  std::uint64_t found = 0;
  for (int shift = 64 - kBits; shift >= 0; shift -= kBits) {
    std::vector<std::int64_t> counts(std::size_t{1} << kBits);
    for (const std::int64_t time : times) {
      const std::uint64_t key = static_cast<std::uint64_t>(time) ^ kSign;
      if (shift + kBits == 64 || key >> (shift + kBits) == found) ++counts[key >> shift & 0xFFFF];
    }
    std::size_t bucket = 0;
    for (; rank >= counts[bucket]; ++bucket) rank -= counts[bucket];
    found = found << kBits | bucket;
  }
  return static_cast<std::int64_t>(found ^ kSign);
}

std::string by_time(Interactions& data, const InteractionsConfig& config) {
  const std::int64_t n = data.events();
  // Events of one time stay together, on the later side.
  const auto time_at = [&](std::int64_t rank) {
    return rank >= n ? std::numeric_limits<std::int64_t>::max() : nth_time(data.time.span(), rank);
  };
  const std::int64_t test_events = part_of(n, config.test_fraction);
  const std::int64_t test = time_at(n - test_events);
  const std::int64_t validation = time_at(n - test_events - part_of(n, config.validation_fraction));
  const auto parts = data.part.writable();
  for (std::size_t i = 0; i < parts.size(); ++i)
    parts[i] = data.time[i] >= test ? Part::kTest : data.time[i] >= validation ? Part::kValidation : Part::kTrain;
  std::string said = "by time";
  if (config.validation_fraction > 0) said += fmt::format(", validation from {}", time_text(validation));
  if (config.test_fraction > 0) said += fmt::format(", test from {}", time_text(test));
  return said;
}

std::string by_user(Interactions& data, const InteractionsConfig& config, std::uint64_t seed) {
  std::array<std::int64_t, 3> users{};
  for (std::int32_t user = 0; user < data.users->size(); ++user) {
    const double u = static_cast<double>(draw(seed, kUserPurpose, hash_of(data.users->name(user)), 0) >> 11) * 0x1p-53;
    const Part part = u < config.test_fraction                                ? Part::kTest
                      : u < config.test_fraction + config.validation_fraction ? Part::kValidation
                                                                              : Part::kTrain;
    ++users[static_cast<std::size_t>(part)];
    const auto begin = data.part.writable().begin();
    std::fill(begin + data.offsets[index(user)], begin + data.offsets[index(user) + 1], part);
  }
  return fmt::format("by user, seed {}: {} train, {} validation, {} test", seed, with_commas(users[0]), with_commas(users[1]),
                     with_commas(users[2]));
}

/// Lines about what the split came to.
std::string describe_parts(const Interactions& data) {
  std::vector<bool> trained(index(data.items->size()));
  std::array<std::int64_t, 3> events{}, unseen{};
  for (std::size_t i = 0; i < data.part.size(); ++i)
    if (data.part[i] == Part::kTrain) trained[index(data.item[i])] = true;
  for (std::size_t i = 0; i < data.part.size(); ++i) {
    const auto part = static_cast<std::size_t>(data.part[i]);
    ++events[part];
    if (!trained[index(data.item[i])]) ++unseen[part];
  }
  std::string said = fmt::format("\nevents: {} train, {} validation, {} test", with_commas(events[0]), with_commas(events[1]),
                                 with_commas(events[2]));
  for (const auto& [name, part] : {std::pair{"validation", 1}, {"test", 2}})
    if (const std::int64_t n = unseen[static_cast<std::size_t>(part)]; n > 0)
      said += fmt::format("\nof those of {}, {} are of items that training never sees", name, with_commas(n));
  return said;
}

}  // namespace

void split_events(Interactions& data, const InteractionsConfig& config, std::uint64_t seed, const Column<Part>& source,
                  ColumnSpace& space) {
  static_assert(Part::kTrain == Part{});  // what a new column holds
  data.part = space.column<Part>(data.item.size());
  std::string how = "none, all is training";
  if (config.split == "leave_one_out") how = leave_one_out(data);
  if (config.split == "ratio") how = by_ratio(data, config, seed);
  if (config.split == "time") how = by_time(data, config);
  if (config.split == "user") how = by_user(data, config, seed);
  if (config.split == "given") {
    require(source.size() == data.item.size(), "split_events", "one file an event is needed");
    std::ranges::copy(source, data.part.writable().begin());
    how = "given files";
  }
  data.summary += fmt::format("\nsplit: {}{}", how, describe_parts(data));
}

}  // namespace tradewind::runtime
