#include "runtime/data/vocabulary.h"

#include <fmt/format.h>
#include <xxhash.h>

#include <algorithm>
#include <cstring>
#include <limits>
#include <numeric>

#include "kernels/base/error.h"

namespace tradewind::runtime {
namespace {

constexpr std::string_view kMagic = "TWVOCAB1", kMagicWithBuckets = "TWVOCAB2";
constexpr std::size_t kHead = kMagic.size() + sizeof(std::uint64_t);

std::uint64_t hash_of(std::string_view name) { return XXH3_64bits(name.data(), name.size()); }

template <class T>
void append_values(std::string& out, const T* values, std::size_t count) {
  out.append(reinterpret_cast<const char*>(values), count * sizeof(T));
}

template <class T>
std::vector<T> array_at(std::string_view bytes, std::size_t at, std::size_t count) {
  std::vector<T> out(count);
  if (count > 0) std::memcpy(out.data(), bytes.data() + at, count * sizeof(T));
  return out;
}

std::uint64_t word_at(std::string_view bytes, std::size_t at) { return array_at<std::uint64_t>(bytes, at, 1)[0]; }

}  // namespace

Vocabulary::Vocabulary(std::int32_t buckets) : buckets_(buckets) {
  require(buckets >= 0, "Vocabulary", "buckets must not be negative");
  for (std::int32_t i = 0; i < buckets; ++i) append(fmt::format("<unknown {}>", i));
}

/// One more name, which is not looked for.
void Vocabulary::append(std::string_view name) {
  bytes_ += name;
  ends_.push_back(bytes_.size());
  counts_.push_back(0);
}

std::string_view Vocabulary::name(std::int32_t id) const {
  const auto i = static_cast<std::size_t>(id);
  const std::uint64_t begin = i == 0 ? 0 : ends_[i - 1];
  return std::string_view(bytes_).substr(begin, ends_[i] - begin);
}

/// Where `name` is, or the free slot where it would be. Needs a free slot.
std::size_t Vocabulary::slot_of(std::string_view name, std::uint64_t hash) const {
  const std::size_t mask = slots_.size() - 1;
  const auto tag = static_cast<std::uint32_t>(hash >> 32);
  for (std::size_t at = hash & mask;; at = (at + 1) & mask) {
    const Slot& slot = slots_[at];
    if (slot.id < 0 || (slot.tag == tag && this->name(slot.id) == name)) return at;
  }
}

void Vocabulary::grow() {
  slots_.assign(std::max<std::size_t>(2 * slots_.size(), 16), Slot{});
  for (std::int32_t id = buckets_; id < size(); ++id) {
    const std::uint64_t hash = hash_of(name(id));
    slots_[slot_of(name(id), hash)] = {.tag = static_cast<std::uint32_t>(hash >> 32), .id = id};
  }
}

std::int32_t Vocabulary::find(std::string_view name) const {
  return slots_.empty() ? -1 : slots_[slot_of(name, hash_of(name))].id;
}

std::int32_t Vocabulary::row_of(std::string_view name) const {
  const std::int32_t id = find(name);
  if (id >= 0 || buckets_ == 0) return id;
  return static_cast<std::int32_t>(hash_of(name) % static_cast<std::uint64_t>(buckets_));
}

void Vocabulary::count_unknown(std::string_view name, std::int64_t count) {
  const std::int32_t row = row_of(name);
  require(row >= 0 && is_bucket(row), "Vocabulary::count_unknown", "the name has a row of its own, or there are no buckets");
  counts_[static_cast<std::size_t>(row)] += count;
}

std::vector<std::uint8_t> Vocabulary::candidates() const {
  if (buckets_ == 0) return {};
  std::vector<std::uint8_t> out(counts_.size(), 1);
  std::fill_n(out.begin(), buckets_, std::uint8_t{0});
  return out;
}

std::int32_t Vocabulary::add(std::string_view name, std::int64_t count) {
  if (2 * (counts_.size() + 1) > slots_.size()) grow();
  const std::uint64_t hash = hash_of(name);
  Slot& slot = slots_[slot_of(name, hash)];
  if (slot.id < 0) {
    if (size() == std::numeric_limits<std::int32_t>::max())
      throw DataError(fmt::format("more than {} different ids", std::numeric_limits<std::int32_t>::max()));
    slot = {.tag = static_cast<std::uint32_t>(hash >> 32), .id = size()};
    append(name);
  }
  counts_[static_cast<std::size_t>(slot.id)] += count;
  return slot.id;
}

Vocabulary Vocabulary::by_count(const Vocabulary& names, std::span<const std::int64_t> counts, std::int32_t buckets) {
  require(counts.size() == names.counts_.size() && names.buckets_ == 0, "Vocabulary::by_count",
          "one count a name is needed, and names without buckets");
  std::vector<std::int32_t> order(counts.size());
  std::iota(order.begin(), order.end(), 0);
  std::erase_if(order, [&](std::int32_t id) { return counts[static_cast<std::size_t>(id)] <= 0; });
  std::ranges::sort(order, [&](std::int32_t a, std::int32_t b) {
    const std::int64_t of_a = counts[static_cast<std::size_t>(a)], of_b = counts[static_cast<std::size_t>(b)];
    return of_a != of_b ? of_a > of_b : names.name(a) < names.name(b);
  });
  Vocabulary out(buckets);
  for (const std::int32_t id : order) out.add(names.name(id), counts[static_cast<std::size_t>(id)]);
  return out;
}

std::string Vocabulary::serialised() const {
  std::string out(buckets_ == 0 ? kMagic : kMagicWithBuckets);
  const std::uint64_t n = counts_.size(), buckets = static_cast<std::uint64_t>(buckets_);
  append_values(out, &n, 1);
  if (buckets > 0) append_values(out, &buckets, 1);
  append_values(out, counts_.data(), n);
  append_values(out, ends_.data(), n);
  out += bytes_;
  const std::uint64_t sum = XXH3_64bits(out.data(), out.size());
  append_values(out, &sum, 1);
  return out;
}

std::uint64_t Vocabulary::checksum() const {
  const std::string bytes = serialised();
  return word_at(bytes, bytes.size() - sizeof(std::uint64_t));
}

Vocabulary Vocabulary::parse(std::string_view bytes, const std::string& source) {
  const auto fail = [&](const std::string& what) -> void {
    throw DataError(fmt::format("{}: {}. Take the file from where it was written once more", source, what));
  };
  const bool has_buckets = bytes.starts_with(kMagicWithBuckets);
  if (!has_buckets && !bytes.starts_with(kMagic)) fail("not a vocabulary (it does not begin with \"TWVOCAB1\")");
  const std::size_t head = kHead + (has_buckets ? sizeof(std::uint64_t) : 0);
  if (bytes.size() < head + sizeof(std::uint64_t)) fail("the vocabulary is truncated");
  const std::size_t end = bytes.size() - sizeof(std::uint64_t);
  if (XXH3_64bits(bytes.data(), end) != word_at(bytes, end)) fail("the vocabulary is truncated or altered (checksum)");
  const std::uint64_t n = word_at(bytes, kMagic.size());
  const std::uint64_t buckets = has_buckets ? word_at(bytes, kHead) : 0;
  if (n > (end - head) / 16 || buckets > n) fail("the vocabulary is shorter than it says");
  const auto counts = array_at<std::int64_t>(bytes, head, n);
  const auto ends = array_at<std::uint64_t>(bytes, head + 8 * n, n);
  const std::string_view names = bytes.substr(head + 16 * n, end - head - 16 * n);
  Vocabulary out(static_cast<std::int32_t>(buckets));
  for (std::uint64_t i = 0, begin = 0; i < n; begin = ends[i++]) {
    if (ends[i] < begin || ends[i] > names.size()) fail("the vocabulary's names are not in order");
    if (i < buckets) {
      out.counts_[i] = counts[i];
      continue;
    }
    if (out.add(names.substr(begin, ends[i] - begin), counts[i]) != static_cast<std::int32_t>(i))
      fail(fmt::format("name {} of the vocabulary is there twice", i));
  }
  return out;
}

}  // namespace tradewind::runtime
