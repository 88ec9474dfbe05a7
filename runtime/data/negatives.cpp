#include "runtime/data/negatives.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "kernels/base/error.h"
#include "kernels/base/philox.h"
#include "runtime/core/allocator.h"
#include "runtime/core/context.h"

namespace tradewind::runtime {
namespace {

constexpr std::uint32_t kAttempts = 100;

/// count^exponent, 0 where there is none and for `more` behind them.
std::vector<double> powers(std::span<const std::int64_t> counts, double exponent, std::int64_t more) {
  std::vector<double> out;
  out.reserve(counts.size());
  for (const std::int64_t count : counts) out.push_back(count == 0 ? 0 : std::pow(static_cast<double>(count), exponent));
  out.resize(out.size() + static_cast<std::size_t>(more));
  return out;
}

std::vector<std::int64_t> training_counts(const Interactions& x) {
  std::vector<std::int64_t> out(static_cast<std::size_t>(x.items->size()));
  for (std::size_t e = 0; e < x.item.size(); ++e)
    if (x.part[e] == Part::kTrain) ++out[static_cast<std::size_t>(x.item[e])];
  return out;
}

Tensor tensor_of(std::span<const float> values) {
  Tensor out(host_allocator(), {static_cast<std::int64_t>(values.size())}, DType::kFloat32);
  std::ranges::copy(values, out.data<float>());
  return out;
}

}  // namespace

NegativeSampler::NegativeSampler(std::shared_ptr<const Interactions> interactions, std::span<const std::int32_t> users,
                                 const NegativeSampling& sampling, std::uint64_t seed, std::span<const std::int64_t> targets,
                                 std::int64_t masks)
    : interactions_(std::move(interactions)), sampling_(sampling), key_(kernels::philox_key(seed, purpose_of("negatives"))) {
  if (sampling.count == 0) return;
  const auto items = static_cast<std::size_t>(interactions_->items->size());
  if (sampling.kind == NegativeKind::kPopularity)
    popularity_ = AliasTable(powers(training_counts(*interactions_), sampling.exponent, masks));
  if (sampling.log_q && sampling.kind == NegativeKind::kPopularity) log_q_ = tensor_of(popularity_.log_probability());
  if (sampling.log_q && sampling.kind == NegativeKind::kInBatch) {
    require(targets.size() == items, "NegativeSampler", "how often each item is a target is not given");
    log_q_ = tensor_of(AliasTable(powers(targets, 1, masks)).log_probability());
  }
  if (sampling.by_position()) collect_had(users);
}

void NegativeSampler::collect_had(std::span<const std::int32_t> users) {
  const Interactions& x = *interactions_;
  had_offsets_.assign(static_cast<std::size_t>(x.users->size()) + 1, 0);
  std::vector<bool> wanted(static_cast<std::size_t>(x.users->size()));
  for (const std::int32_t user : users) wanted[static_cast<std::size_t>(user)] = true;
  for (std::size_t user = 0; user < wanted.size(); ++user) {
    const auto begin = static_cast<std::ptrdiff_t>(had_.size());
    for (std::int64_t e = x.offsets[user]; wanted[user] && e < x.offsets[user + 1]; ++e)
      if (x.part[static_cast<std::size_t>(e)] == Part::kTrain) had_.push_back(x.item[static_cast<std::size_t>(e)]);
    std::sort(had_.begin() + begin, had_.end());
    had_.erase(std::unique(had_.begin() + begin, had_.end()), had_.end());
    if (static_cast<std::int32_t>(static_cast<std::ptrdiff_t>(had_.size()) - begin) == x.items->size())
      throw DataError(
          fmt::format("training: user \"{}\" has had every item, so there is no negative for it; leave it out, or train "
                      "with a loss over the whole catalogue",
                      x.users->name(static_cast<std::int32_t>(user))));
    had_offsets_[user + 1] = static_cast<std::int64_t>(had_.size());
  }
}

std::span<const std::int32_t> NegativeSampler::had(std::int32_t user) const {
  const auto begin = static_cast<std::size_t>(had_offsets_[static_cast<std::size_t>(user)]),
             end = static_cast<std::size_t>(had_offsets_[static_cast<std::size_t>(user) + 1]);
  return std::span(had_).subspan(begin, end - begin);
}

/// Column `column` of a position of a sample, try `attempt`.
std::int32_t NegativeSampler::drawn(std::uint64_t sample, std::int64_t position, std::int64_t column,
                                    std::uint32_t attempt) const {
  const auto block =
      kernels::philox(key_, {{static_cast<std::uint32_t>(column), static_cast<std::uint32_t>(position) ^ attempt << 24,
                              static_cast<std::uint32_t>(sample), static_cast<std::uint32_t>(sample >> 32)}});
  const std::uint64_t first = std::uint64_t{block.w[0]} << 32 | block.w[1],
                      second = std::uint64_t{block.w[2]} << 32 | block.w[3];
  if (sampling_.kind == NegativeKind::kPopularity) return popularity_.draw(first, second);
  return static_cast<std::int32_t>(below(first, static_cast<std::uint64_t>(interactions_->items->size())));
}

/// Draws until it meets an item that the user has not had; the last resort is the next such item in order.
void NegativeSampler::draw(std::span<std::int32_t> to, std::int32_t user, std::uint64_t sample, std::int64_t position) const {
  require(sampling_.by_position(), "NegativeSampler::draw", "these negatives are not drawn by position");
  const auto before = had(user);
  const auto is_had = [&](std::int32_t item) { return std::ranges::binary_search(before, item); };
  const std::int32_t items = interactions_->items->size();
  for (std::size_t j = 0; j < to.size(); ++j) {
    const auto column = static_cast<std::int64_t>(j);
    std::uint32_t attempt = 0;
    std::int32_t item = drawn(sample, position, column, attempt);
    while (is_had(item) && ++attempt < kAttempts) item = drawn(sample, position, column, attempt);
    while (is_had(item)) item = (item + 1) % items;
    to[j] = item;
  }
}

void NegativeSampler::draw_set(std::span<std::int32_t> to, std::uint64_t sample) const {
  for (std::size_t j = 0; j < to.size(); ++j) to[j] = drawn(sample, 0, static_cast<std::int64_t>(j), 0);
}

}  // namespace tradewind::runtime
