#include "runtime/data/pair_dataset.h"

#include <algorithm>

#include "kernels/base/error.h"
#include "kernels/base/philox.h"
#include "runtime/core/context.h"

namespace tradewind::runtime {

PairDataset::PairDataset(std::shared_ptr<const Interactions> interactions, const PairOptions& options, Allocator& allocator)
    : interactions_(std::move(interactions)), options_(options), allocator_(allocator) {
  require(options.negatives >= 1, "PairDataset", "a pair wants at least one negative");
  const Interactions& x = *interactions_;
  for (std::int32_t user = 0; user < x.users->size(); ++user) {
    const auto begin = static_cast<std::ptrdiff_t>(had_.size());
    const auto first = static_cast<std::size_t>(x.offsets[static_cast<std::size_t>(user)]),
               last = static_cast<std::size_t>(x.offsets[static_cast<std::size_t>(user) + 1]);
    for (std::size_t e = first; e < last; ++e) {
      if (x.part[e] != Part::kTrain) continue;
      events_.push_back({user, x.item[e]});
      had_.push_back(x.item[e]);
    }
    std::sort(had_.begin() + begin, had_.end());
    had_.erase(std::unique(had_.begin() + begin, had_.end()), had_.end());
    had_offsets_.push_back(static_cast<std::int64_t>(had_.size()));
    if (std::ssize(had(user)) == x.items->size())
      throw DataError("training: user \"" + std::string(x.users->name(user)) +
                      "\" has had every item, so there is no negative for it; leave it out");
  }
}

std::span<const std::int32_t> PairDataset::had(std::int32_t user) const {
  const auto begin = static_cast<std::size_t>(had_offsets_[static_cast<std::size_t>(user)]),
             end = static_cast<std::size_t>(had_offsets_[static_cast<std::size_t>(user) + 1]);
  return std::span(had_).subspan(begin, end - begin);
}

/// Draws until it meets an item that the user has not had; the last resort is the next such item in order.
std::int32_t PairDataset::draw(std::int32_t user, std::uint64_t sample, std::int64_t column) const {
  constexpr std::uint32_t kAttempts = 100;
  const auto before = had(user);
  const std::int32_t items = interactions_->items->size();
  const auto key = kernels::philox_key(options_.seed, purpose_of("negatives"));
  const auto is_had = [&](std::int32_t item) { return std::ranges::binary_search(before, item); };
  std::int32_t item = 0;
  for (std::uint32_t attempt = 0; attempt < kAttempts; ++attempt) {
    const auto block = kernels::philox(key, {{static_cast<std::uint32_t>(column), attempt << 24,
                                              static_cast<std::uint32_t>(sample), static_cast<std::uint32_t>(sample >> 32)}});
    const std::uint64_t bits = std::uint64_t{block.w[0]} << 32 | block.w[1];
    item = static_cast<std::int32_t>(static_cast<unsigned __int128>(bits) * static_cast<std::uint64_t>(items) >> 64);
    if (!is_had(item)) return item;
  }
  while (is_had(item)) item = (item + 1) % items;
  return item;
}

Batch PairDataset::collate(std::span<const SampleRef> samples) const {
  const auto S = static_cast<std::int64_t>(samples.size());
  const std::int64_t n = options_.negatives;
  const Tensor users(allocator_, {S}, DType::kInt32), targets(allocator_, {S}, DType::kInt32),
      negatives(allocator_, {S, n}, DType::kInt32);
  for (std::int64_t s = 0; s < S; ++s) {
    const SampleRef& sample = samples[static_cast<std::size_t>(s)];
    const auto [user, item] = events_[static_cast<std::size_t>(sample.index)];
    users.data<std::int32_t>()[s] = user;
    targets.data<std::int32_t>()[s] = item;
    for (std::int64_t j = 0; j < n; ++j) negatives.data<std::int32_t>()[s * n + j] = draw(user, sample.running, j);
  }
  Batch batch;
  batch.fields = {{"users", users}, {"targets", targets}, {"negatives", negatives}};
  batch.samples = batch.valid = S;
  batch.max_length = 1;
  return batch;
}

}  // namespace tradewind::runtime
