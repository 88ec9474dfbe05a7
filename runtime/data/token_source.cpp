#include "runtime/data/token_source.h"

#include <algorithm>

namespace tradewind::runtime {

void TokenArray::append(std::span<const std::int32_t> ids) {
  if (narrow_)
    for (const std::int32_t id : ids) short_.push_back(static_cast<std::uint16_t>(id));
  else
    long_.insert(long_.end(), ids.begin(), ids.end());
}

void TokenArray::read(std::int64_t begin, std::span<std::int32_t> ids) const {
  if (narrow_)
    std::copy_n(short_.begin() + begin, ids.size(), ids.begin());
  else
    std::copy_n(long_.begin() + begin, ids.size(), ids.begin());
}

}  // namespace tradewind::runtime
