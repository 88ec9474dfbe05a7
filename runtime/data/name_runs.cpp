#include "runtime/data/name_runs.h"

#include <fmt/format.h>

#include <algorithm>
#include <limits>
#include <queue>

#include "kernels/base/error.h"

namespace tradewind::runtime {
namespace {

std::size_t index(std::int64_t i) { return static_cast<std::size_t>(i); }

Vocabulary mapped(const Column<char>& memory) {
  const auto owner = std::make_shared<const Column<char>>(memory);
  return Vocabulary::mapped({memory.data(), memory.size()}, owner, "names in order");
}

}  // namespace

void NameRuns::add(const Vocabulary& names, std::span<const std::int64_t> counts) {
  if (added_ + names.size() > std::numeric_limits<std::int32_t>::max())
    throw DataError(fmt::format("more than {} different ids", std::numeric_limits<std::int32_t>::max()));
  const Vocabulary ordered = Vocabulary::by_count(names, counts);
  std::uint64_t bytes = 0;
  for (std::int32_t i = 0; i < ordered.size(); ++i) bytes += ordered.name(i).size();
  const auto n = static_cast<std::uint64_t>(ordered.size());
  const Column<char> memory = space_.column<char>(VocabularyWriter::bytes(n, bytes));
  const Column<std::int32_t> which = space_.column<std::int32_t>(n);
  VocabularyWriter writer(memory.writable(), n);
  for (std::int32_t i = 0; i < ordered.size(); ++i) {
    writer.add(ordered.name(i), ordered.count(i));
    which.writable()[index(i)] = static_cast<std::int32_t>(added_ + names.find(ordered.name(i)));
  }
  writer.finish();
  runs_.push_back({.names = mapped(memory), .which = which});
  added_ += names.size();
  kept_ += n;
  bytes_ += bytes;
}

std::shared_ptr<const Vocabulary> NameRuns::merge(std::vector<std::int32_t>& number_of) const {
  number_of.assign(index(added_), -1);
  struct Head {
    std::int64_t count;
    std::string_view name;
    std::size_t run;
    std::int32_t at;
    bool operator<(const Head& other) const {  // what comes later, as the queue gives its greatest
      return count != other.count ? count < other.count : name > other.name;
    }
  };
  std::priority_queue<Head> heads;
  const auto push = [&](std::size_t run, std::int32_t at) {
    const Vocabulary& names = runs_[run].names;
    if (at < names.size()) heads.push({.count = names.count(at), .name = names.name(at), .run = run, .at = at});
  };
  for (std::size_t run = 0; run < runs_.size(); ++run) push(run, 0);
  const Column<char> memory = space_.column<char>(VocabularyWriter::bytes(kept_, bytes_));
  VocabularyWriter writer(memory.writable(), kept_);
  for (std::int32_t number = 0; !heads.empty(); ++number) {
    const Head head = heads.top();
    heads.pop();
    writer.add(head.name, head.count);
    number_of[index(runs_[head.run].which[index(head.at)])] = number;
    push(head.run, head.at + 1);
  }
  writer.finish();
  return std::make_shared<const Vocabulary>(mapped(memory));
}

}  // namespace tradewind::runtime
