#include "runtime/parallel/shard.h"

#include <string>

#include "kernels/base/error.h"

namespace tradewind::runtime {

std::vector<std::int64_t> shares_of(const Bucket& bucket, int size) {
  std::vector<std::int64_t> out;
  for (int r = 0; r < size; ++r) {
    const FlatRange range = shard_of(bucket, r, size);
    out.push_back(range.end - range.begin);
  }
  return out;
}

namespace {

const Bucket& bucket_of(const ParameterStore& store, const Parameter& p) {
  const auto bucket =
      std::ranges::find_if(store.buckets(), [&](const Bucket& b) { return b.begin <= p.begin() && p.end() <= b.end; });
  require(bucket != store.buckets().end(), "owned_parts", "a parameter lies in no bucket");
  return *bucket;
}

}  // namespace

std::vector<OwnedPart> owned_parts(const ParameterStore& store, int rank, int size) {
  std::vector<OwnedPart> out;
  for (const auto& p : store.parameters()) {
    if (p->shape().elements() == 0) {
      if (rank == 0) out.push_back({p.get(), 0, 0, p->begin()});
      continue;
    }
    const FlatRange shard = shard_of(p->sparse() ? Bucket{p->begin(), p->end()} : bucket_of(store, *p), rank, size);
    const std::int64_t begin = std::max(shard.begin, p->begin()), end = std::min(shard.end, p->end());
    if (begin < end) out.push_back({p.get(), begin - p->begin(), end - p->begin(), begin});
  }
  return out;
}

Shard Shard::of(const ParameterStore& store, int rank, int size) {
  Shard out;
  for (const Bucket& bucket : store.buckets()) {
    const FlatRange range = shard_of(bucket, rank, size);
    out.parts_.push_back({range, out.elements_});
    out.elements_ += range.end - range.begin;
  }
  return out;
}

Shard Shard::whole(const ParameterStore& store) {
  Shard out;
  out.elements_ = store.dense_elements();
  out.parts_.push_back({{0, out.elements_}, 0});
  return out;
}

std::int64_t Shard::find(std::int64_t flat) const {
  for (const Part& part : parts_)
    if (part.range.begin <= flat && flat < part.range.end) return part.at + flat - part.range.begin;
  throw InternalError("Shard::find: element " + std::to_string(flat) + " belongs to another rank");
}

}  // namespace tradewind::runtime
