#include "runtime/data/vocabulary.h"

#include <fmt/format.h>
#include <xxhash.h>

#include <algorithm>
#include <bit>
#include <cstring>
#include <limits>
#include <mutex>
#include <numeric>

#include "kernels/base/error.h"

namespace tradewind::runtime {
namespace {

constexpr std::string_view kMagic = "TWVOCAB1", kMagicWithBuckets = "TWVOCAB2";
constexpr std::size_t kHead = kMagic.size() + sizeof(std::uint64_t);

std::uint64_t hash_of(std::string_view name) { return XXH3_64bits(name.data(), name.size()); }

template <class T>
std::string_view bytes_of(const T* values, std::size_t count) {
  return {reinterpret_cast<const char*>(values), count * sizeof(T)};
}

template <class T>
std::vector<T> array_at(std::string_view bytes, std::size_t at, std::size_t count) {
  std::vector<T> out(count);
  if (count > 0) std::memcpy(out.data(), bytes.data() + at, count * sizeof(T));
  return out;
}

std::uint64_t word_at(std::string_view bytes, std::size_t at) { return array_at<std::uint64_t>(bytes, at, 1)[0]; }

/// Where the parts of a serialised vocabulary lie.
struct Layout {
  std::uint64_t n, buckets;
  std::size_t counts, ends;
  std::string_view names;
};

[[noreturn]] void refuse(const std::string& source, const std::string& what) {
  throw DataError(fmt::format("{}: {}. Take the file from where it was written once more", source, what));
}

Layout layout_of(std::string_view bytes, const std::string& source) {
  const bool has_buckets = bytes.starts_with(kMagicWithBuckets);
  if (!has_buckets && !bytes.starts_with(kMagic)) refuse(source, "not a vocabulary (it does not begin with \"TWVOCAB1\")");
  const std::size_t head = kHead + (has_buckets ? sizeof(std::uint64_t) : 0);
  if (bytes.size() < head + sizeof(std::uint64_t)) refuse(source, "the vocabulary is truncated");
  const std::size_t end = bytes.size() - sizeof(std::uint64_t);
  if (XXH3_64bits(bytes.data(), end) != word_at(bytes, end))
    refuse(source, "the vocabulary is truncated or altered (checksum)");
  const std::uint64_t n = word_at(bytes, kMagic.size());
  const std::uint64_t buckets = has_buckets ? word_at(bytes, kHead) : 0;
  if (n > (end - head) / 16 || buckets > n) refuse(source, "the vocabulary is shorter than it says");
  return {.n = n,
          .buckets = buckets,
          .counts = head,
          .ends = head + 8 * n,
          .names = bytes.substr(head + 16 * n, end - head - 16 * n)};
}

}  // namespace

struct Vocabulary::Mapped {
  std::string_view all, names;
  std::span<const std::int64_t> counts;
  std::span<const std::uint64_t> ends;
  std::shared_ptr<const void> owner;
  mutable std::once_flag once;
  mutable std::vector<Slot> slots;
};

std::span<const std::int64_t> Vocabulary::counts() const {
  return mapped_ != nullptr ? mapped_->counts : std::span<const std::int64_t>(counts_);
}
std::span<const std::uint64_t> Vocabulary::ends() const {
  return mapped_ != nullptr ? mapped_->ends : std::span<const std::uint64_t>(ends_);
}
std::string_view Vocabulary::names() const { return mapped_ != nullptr ? mapped_->names : std::string_view(bytes_); }
std::string_view Vocabulary::mapped_bytes() const { return mapped_ != nullptr ? mapped_->all : std::string_view(); }

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
  const auto ends = this->ends();
  const std::uint64_t begin = i == 0 ? 0 : ends[i - 1];
  return names().substr(begin, ends[i] - begin);
}

/// Where `name` is, or the free slot where it would be. Needs a free slot.
std::size_t Vocabulary::slot_of(const std::vector<Slot>& slots, std::string_view name, std::uint64_t hash) const {
  const std::size_t mask = slots.size() - 1;
  const auto tag = static_cast<std::uint32_t>(hash >> 32);
  for (std::size_t at = hash & mask;; at = (at + 1) & mask) {
    const Slot& slot = slots[at];
    if (slot.id < 0 || (slot.tag == tag && this->name(slot.id) == name)) return at;
  }
}

/// `count`: a power of two.
std::vector<Vocabulary::Slot> Vocabulary::slots_of_all(std::size_t count) const {
  std::vector<Slot> out(count);
  for (std::int32_t id = buckets_; id < size(); ++id) {
    const std::uint64_t hash = hash_of(name(id));
    out[slot_of(out, name(id), hash)] = {.tag = static_cast<std::uint32_t>(hash >> 32), .id = id};
  }
  return out;
}

const std::vector<Vocabulary::Slot>& Vocabulary::slots() const {
  if (mapped_ == nullptr) return slots_;
  std::call_once(mapped_->once, [this] { mapped_->slots = slots_of_all(std::bit_ceil(2 * (counts().size() + 1))); });
  return mapped_->slots;
}

std::int32_t Vocabulary::find(std::string_view name) const {
  const std::vector<Slot>& slots = this->slots();
  return slots.empty() ? -1 : slots[slot_of(slots, name, hash_of(name))].id;
}

std::int32_t Vocabulary::row_of(std::string_view name) const {
  const std::int32_t id = find(name);
  if (id >= 0 || buckets_ == 0) return id;
  return static_cast<std::int32_t>(hash_of(name) % static_cast<std::uint64_t>(buckets_));
}

void Vocabulary::count_unknown(std::string_view name, std::int64_t count) {
  const std::int32_t row = row_of(name);
  require(row >= 0 && is_bucket(row), "Vocabulary::count_unknown", "the name has a row of its own, or there are no buckets");
  own();
  counts_[static_cast<std::size_t>(row)] += count;
}

std::vector<std::uint8_t> Vocabulary::candidates() const {
  if (buckets_ == 0) return {};
  std::vector<std::uint8_t> out(counts().size(), 1);
  std::fill_n(out.begin(), buckets_, std::uint8_t{0});
  return out;
}

std::int32_t Vocabulary::add(std::string_view name, std::int64_t count) {
  own();
  if (2 * (counts_.size() + 1) > slots_.size()) {
    const std::size_t more = std::max<std::size_t>(2 * slots_.size(), 16);
    std::vector<Slot>().swap(slots_);  // not held twice
    slots_ = slots_of_all(more);
  }
  const std::uint64_t hash = hash_of(name);
  Slot& slot = slots_[slot_of(slots_, name, hash)];
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
  require(counts.size() == names.counts().size() && names.buckets_ == 0, "Vocabulary::by_count",
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

/// The bytes before the checksum.
template <class Take>
void Vocabulary::each_piece(const Take& take) const {
  const std::uint64_t n = counts().size(), buckets = static_cast<std::uint64_t>(buckets_);
  take(buckets == 0 ? kMagic : kMagicWithBuckets);
  take(bytes_of(&n, 1));
  if (buckets > 0) take(bytes_of(&buckets, 1));
  take(bytes_of(counts().data(), n));
  take(bytes_of(ends().data(), n));
  take(names());
}

std::string Vocabulary::serialised() const {
  if (mapped_ != nullptr) return std::string(mapped_->all);
  std::string out;
  each_piece([&](std::string_view piece) { out += piece; });
  const std::uint64_t sum = XXH3_64bits(out.data(), out.size());
  out += bytes_of(&sum, 1);
  return out;
}

std::uint64_t Vocabulary::checksum() const {
  if (mapped_ != nullptr) return word_at(mapped_->all, mapped_->all.size() - sizeof(std::uint64_t));
  const std::unique_ptr<XXH3_state_t, decltype(&XXH3_freeState)> state(XXH3_createState(), XXH3_freeState);
  XXH3_64bits_reset(state.get());
  each_piece([&](std::string_view piece) { XXH3_64bits_update(state.get(), piece.data(), piece.size()); });
  return XXH3_64bits_digest(state.get());
}

Vocabulary Vocabulary::parse(std::string_view bytes, const std::string& source) {
  const Layout at = layout_of(bytes, source);
  const auto counts = array_at<std::int64_t>(bytes, at.counts, at.n);
  const auto ends = array_at<std::uint64_t>(bytes, at.ends, at.n);
  Vocabulary out(static_cast<std::int32_t>(at.buckets));
  for (std::uint64_t i = 0, begin = 0; i < at.n; begin = ends[i++]) {
    if (ends[i] < begin || ends[i] > at.names.size()) refuse(source, "the vocabulary's names are not in order");
    if (i < at.buckets) {
      out.counts_[i] = counts[i];
      continue;
    }
    if (out.add(at.names.substr(begin, ends[i] - begin), counts[i]) != static_cast<std::int32_t>(i))
      refuse(source, fmt::format("name {} of the vocabulary is there twice", i));
  }
  return out;
}

Vocabulary Vocabulary::mapped(std::string_view bytes, std::shared_ptr<const void> owner, const std::string& source) {
  require(reinterpret_cast<std::uintptr_t>(bytes.data()) % alignof(std::uint64_t) == 0, "Vocabulary::mapped",
          "it must lie at a multiple of 8");
  const Layout at = layout_of(bytes, source);
  const auto mapped = std::make_shared<Mapped>();
  mapped->all = bytes;
  mapped->names = at.names;
  mapped->counts = {reinterpret_cast<const std::int64_t*>(bytes.data() + at.counts), at.n};
  mapped->ends = {reinterpret_cast<const std::uint64_t*>(bytes.data() + at.ends), at.n};
  mapped->owner = std::move(owner);
  if (!std::ranges::is_sorted(mapped->ends) || (at.n > 0 && mapped->ends.back() > at.names.size()))
    refuse(source, "the vocabulary's names are not in order");
  Vocabulary out;
  out.buckets_ = static_cast<std::int32_t>(at.buckets);
  out.mapped_ = mapped;
  return out;
}

void Vocabulary::own() {
  if (mapped_ == nullptr) return;
  const std::shared_ptr<const Mapped> before = mapped_;
  *this = parse(before->all, "a mapped vocabulary");
}

std::size_t VocabularyWriter::bytes(std::uint64_t names, std::uint64_t name_bytes) {
  return kHead + 16 * names + name_bytes + sizeof(std::uint64_t);
}

VocabularyWriter::VocabularyWriter(std::span<char> memory, std::uint64_t names) : memory_(memory), names_(names) {
  std::ranges::copy(kMagic, memory_.begin());
  std::memcpy(memory_.data() + kMagic.size(), &names, sizeof names);
}

void VocabularyWriter::add(std::string_view name, std::int64_t count) {
  char* const counts = memory_.data() + kHead;
  char* const ends = counts + 8 * names_;
  std::memcpy(ends + 8 * names_ + end_, name.data(), name.size());
  end_ += name.size();
  std::memcpy(counts + 8 * added_, &count, sizeof count);
  std::memcpy(ends + 8 * added_++, &end_, sizeof end_);
}

void VocabularyWriter::finish() {
  require(added_ == names_ && bytes(names_, end_) == memory_.size(), "VocabularyWriter", "not the names that were announced");
  const std::size_t before = memory_.size() - sizeof(std::uint64_t);
  const std::uint64_t sum = XXH3_64bits(memory_.data(), before);
  std::memcpy(memory_.data() + before, &sum, sizeof sum);
}

}  // namespace tradewind::runtime
