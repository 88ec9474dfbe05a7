#include "runtime/parallel/shard.h"

#include "kernels/base/error.h"

namespace tradewind::runtime {

std::vector<OwnedPart> owned_parts(const ParameterStore& store, int rank, int size) {
  std::vector<OwnedPart> out;
  for (const auto& p : store.parameters()) {
    if (p->shape().elements() == 0) {
      if (rank == 0) out.push_back({p.get(), 0, 0, p->begin()});
      continue;
    }
    const auto bucket =
        std::ranges::find_if(store.buckets(), [&](const Bucket& b) { return b.begin <= p->begin() && p->end() <= b.end; });
    require(bucket != store.buckets().end(), "owned_parts", "a parameter lies in no bucket");
    const FlatRange shard = shard_of(*bucket, rank, size);
    const std::int64_t begin = std::max(shard.begin, p->begin()), end = std::min(shard.end, p->end());
    if (begin < end) out.push_back({p.get(), begin - p->begin(), end - p->begin(), begin});
  }
  return out;
}

}  // namespace tradewind::runtime
