#include "runtime/data/pair_dataset.h"

#include <numeric>

#include "kernels/base/error.h"

namespace tradewind::runtime {

namespace {

std::vector<std::int32_t> all_users(const Interactions& x) {
  std::vector<std::int32_t> out(static_cast<std::size_t>(x.users->size()));
  std::iota(out.begin(), out.end(), 0);
  return out;
}

}  // namespace

PairDataset::PairDataset(std::shared_ptr<const Interactions> interactions, const PairOptions& options, Allocator& allocator)
    : interactions_(std::move(interactions)),
      allocator_(allocator),
      negatives_(interactions_, all_users(*interactions_), {.count = options.negatives}, options.seed) {
  require(options.negatives >= 1, "PairDataset", "a pair wants at least one negative");
  const Interactions& x = *interactions_;
  for (std::int32_t user = 0; user < x.users->size(); ++user) {
    const auto first = static_cast<std::size_t>(x.offsets[static_cast<std::size_t>(user)]),
               last = static_cast<std::size_t>(x.offsets[static_cast<std::size_t>(user) + 1]);
    for (std::size_t e = first; e < last; ++e)
      if (x.part[e] == Part::kTrain) events_.push_back({user, x.item[e]});
  }
}

Batch PairDataset::collate(std::span<const SampleRef> samples) const {
  const auto S = static_cast<std::int64_t>(samples.size());
  const std::int64_t n = negatives_.sampling().count;
  const Tensor users(allocator_, {S}, DType::kInt32), targets(allocator_, {S}, DType::kInt32),
      negatives(allocator_, {S, n}, DType::kInt32);
  for (std::int64_t s = 0; s < S; ++s) {
    const SampleRef& sample = samples[static_cast<std::size_t>(s)];
    const auto [user, item] = events_[static_cast<std::size_t>(sample.index)];
    users.data<std::int32_t>()[s] = user;
    targets.data<std::int32_t>()[s] = item;
    negatives_.draw(negatives.span<std::int32_t>().subspan(static_cast<std::size_t>(s * n), static_cast<std::size_t>(n)), user,
                    sample.running, 0);
  }
  Batch batch;
  batch.fields = {{"users", users}, {"targets", targets}, {"negatives", negatives}};
  batch.samples = batch.valid = S;
  batch.max_length = 1;
  return batch;
}

}  // namespace tradewind::runtime
