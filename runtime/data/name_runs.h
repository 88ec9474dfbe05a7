// Names too many for memory, put in order of their counts: a run of them at a time is, and then all runs are merged.
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include "runtime/data/column.h"
#include "runtime/data/vocabulary.h"

namespace tradewind::runtime {

class NameRuns {
 public:
  /// Runs and what they come to are columns of `space`.
  explicit NameRuns(ColumnSpace& space) : space_(space) {}
  /// Of `names`, each of which is in one run alone, those with a count above 0. `counts`: one a name.
  void add(const Vocabulary& names, std::span<const std::int64_t> counts);
  /// Vocabulary::by_count of all names, mapped. `number_of`: of the names in the order they were added, for each its number
  /// there, -1 where its count is 0. Throws DataError where the numbers are used up (2^31 - 1).
  std::shared_ptr<const Vocabulary> merge(std::vector<std::int32_t>& number_of) const;

 private:
  struct Run {
    Vocabulary names;            // mapped, in order
    Column<std::int32_t> which;  // of all names added
  };
  ColumnSpace& space_;
  std::vector<Run> runs_;
  std::int64_t added_ = 0;
  std::uint64_t kept_ = 0, bytes_ = 0;
};

}  // namespace tradewind::runtime
