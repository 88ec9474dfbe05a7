#include "models/recommend/sampled_ranking.h"

#include <xxhash.h>

#include <algorithm>
#include <numeric>

#include "kernels/base/error.h"
#include "kernels/base/philox.h"
#include "kernels/embedding.h"

namespace tradewind::models {

using namespace runtime;  // NOLINT: as models are written

std::vector<std::int32_t> draw_candidates(std::int64_t count, std::int64_t items, std::span<const std::int32_t> excluded,
                                          std::uint64_t seed, std::string_view user) {
  const auto free = static_cast<std::uint64_t>(items - static_cast<std::int64_t>(excluded.size()));
  if (free == 0)
    throw DataError("evaluate.candidates: user \"" + std::string(user) +
                    "\" has had every item, so there is none to rank among; use evaluate.candidates = 0 or leave the user out");
  // excluded[i] - i items that may be drawn lie before excluded[i].
  std::vector<std::int64_t> before(excluded.size());
  for (std::size_t i = 0; i < excluded.size(); ++i) before[i] = excluded[i] - static_cast<std::int64_t>(i);
  const auto key = kernels::philox_key(seed, purpose_of("evaluation candidates"));
  const std::uint64_t name = XXH3_64bits(user.data(), user.size());
  std::vector<std::int32_t> out;
  for (std::int64_t j = 0; j < count; ++j) {
    const auto block = kernels::philox(
        key, {{static_cast<std::uint32_t>(j), 0, static_cast<std::uint32_t>(name), static_cast<std::uint32_t>(name >> 32)}});
    const std::uint64_t bits = std::uint64_t{block.w[0]} << 32 | block.w[1];
    const auto place = static_cast<std::int64_t>(static_cast<unsigned __int128>(bits) * free >> 64);
    out.push_back(static_cast<std::int32_t>(place + (std::ranges::upper_bound(before, place) - before.begin())));
  }
  return out;
}

HeldOut::Lists draw_candidates(const HeldOut& users, const HeldOut::Lists& targets, std::int64_t begin, std::int64_t end,
                               std::int64_t count, bool leave_out_seen, std::uint64_t seed) {
  HeldOut::Lists out;
  const Interactions& interactions = users.interactions();
  for (std::int64_t i = begin; i < end; ++i) {
    const std::int32_t user = users.user(i);
    std::vector<std::int32_t> excluded;
    if (leave_out_seen) excluded = training_items(interactions, user);
    for (std::int32_t bucket = 0; bucket < interactions.items->buckets(); ++bucket) excluded.push_back(bucket);
    const auto wanted = targets.of(i - begin);
    excluded.insert(excluded.end(), wanted.begin(), wanted.end());
    std::ranges::sort(excluded);
    excluded.erase(std::unique(excluded.begin(), excluded.end()), excluded.end());
    const auto drawn = draw_candidates(count, interactions.items->size(), excluded, seed, interactions.users->name(user));
    out.items.insert(out.items.end(), drawn.begin(), drawn.end());
    out.offsets.push_back(static_cast<std::int64_t>(out.items.size()));
  }
  return out;
}

namespace {

/// Query n of a catalogue and these items of it alone.
struct SmallCatalogue {
  SmallCatalogue(Context& context, const kernels::Catalogue& all, std::int64_t n, const Tensor& items) {
    const std::int64_t V = items.elements();
    const auto look_up = [&](Tensor& to, const void* table, std::int64_t width) {
      to = context.tensor({V, width}, all.dtype);
      kernels::embedding_forward(to.raw(), table, items.data<std::int32_t>(), V, all.V, width, kernels::Write::kAssign,
                                 all.dtype, context.launch());
    };
    catalogue = {.N = 1, .V = V, .C = all.C, .dtype = all.dtype};
    if (all.scores != nullptr) {
      look_up(rows_, all.scores + n * all.V, 1);
      catalogue.scores = rows_.data<float>();
      return;
    }
    look_up(rows_, all.w, all.C);
    const auto bytes = static_cast<std::int64_t>(kernels::size_of(all.dtype));
    catalogue.x = static_cast<const std::byte*>(all.x) + n * all.C * bytes;
    catalogue.w = rows_.raw();
    if (all.bias == nullptr) return;
    look_up(bias_, all.bias, 1);
    catalogue.bias = bias_.raw();
  }
  kernels::Catalogue catalogue;

 private:
  Tensor rows_, bias_;
};

}  // namespace

/// A small catalogue a user: its targets, then what was drawn.
std::vector<TargetRank> ranks_among(Context& context, const kernels::Catalogue& catalogue, const HeldOut::Lists& targets,
                                    const HeldOut::Lists& drawn) {
  require(catalogue.w_stride == 0 || catalogue.w_stride == catalogue.C, "ranks_among", "the table's rows must be adjacent");
  std::vector<std::int32_t> ids;
  for (std::int64_t n = 0; n < catalogue.N; ++n)
    for (const auto some : {targets.of(n), drawn.of(n)}) ids.insert(ids.end(), some.begin(), some.end());
  const auto total = targets.offsets.back();
  const Tensor where = on_device_of<std::int32_t>(context, ids);

  std::vector<std::int32_t> places(static_cast<std::size_t>(std::max<std::int64_t>(total, 1)));
  for (std::int64_t n = 0; n < catalogue.N; ++n)
    std::iota(places.begin() + targets.offsets[static_cast<std::size_t>(n)],
              places.begin() + targets.offsets[static_cast<std::size_t>(n) + 1], 0);
  const Tensor at = on_device_of<std::int32_t>(context, places);
  const Tensor greater = context.tensor({total}, DType::kInt32), equal = context.tensor({total}, DType::kInt32);
  std::vector<std::int64_t> candidates;  // of each target's user
  for (std::int64_t n = 0, row = 0; n < catalogue.N; ++n) {
    const auto first = targets.offsets[static_cast<std::size_t>(n)];
    const auto mine = static_cast<std::int64_t>(targets.of(n).size());
    const std::int64_t V = mine + static_cast<std::int64_t>(drawn.of(n).size());
    const SmallCatalogue small(context, catalogue, n, where.view(row, {V}));
    const std::int64_t offsets[] = {0, mine};
    const Tensor ends = on_device_of<std::int64_t>(context, offsets);
    kernels::catalogue_rank(greater.data<std::int32_t>() + first, equal.data<std::int32_t>() + first, small.catalogue,
                            ends.data<std::int64_t>(), at.data<std::int32_t>() + first, mine, context.launch());
    candidates.insert(candidates.end(), static_cast<std::size_t>(mine), V);
    row += V;
  }
  const Tensor host_greater = on_host(greater), host_equal = on_host(equal);
  std::vector<TargetRank> out;
  for (std::int64_t t = 0; t < total; ++t) {
    const TargetRank rank{host_greater.data<std::int32_t>()[t], host_equal.data<std::int32_t>()[t]};
    if (rank.greater >= candidates[static_cast<std::size_t>(t)])
      throw DataError("ranking: a score is not a number; the model's parameters are damaged");
    out.push_back(rank);
  }
  return out;
}

}  // namespace tradewind::models
