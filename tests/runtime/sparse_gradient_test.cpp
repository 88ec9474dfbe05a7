// Sparse gradients: pieces that are merged, ranks that exchange them.
#include "runtime/parallel/sparse_gradient.h"

#include <algorithm>
#include <map>
#include <stdexcept>

#include "kernels/base/error.h"
#include "tests/support/oracle.h"
#include "tests/support/thread_communicator.h"

namespace tradewind::tests {
namespace {

using namespace runtime;  // NOLINT: the runtime is what is tested

constexpr std::int64_t kRows = 20, kChannels = 3;

/// Tensors longer than what counts of them, as ops allocate them.
void add(SparseGradient& gradient, Context& context, const std::vector<std::int32_t>& rows, std::uint32_t seed) {
  const auto n = static_cast<std::int64_t>(rows.size());
  const Tensor on = context.tensor({n + 2}, DType::kInt32), values = context.tensor({n + 2, kChannels});
  on.zero();
  values.fill(NAN);
  std::ranges::copy(rows, on.data<std::int32_t>());
  std::ranges::copy(random_values(static_cast<std::size_t>(n * kChannels), seed), values.data<float>());
  gradient.add(context, on, values, n);
}

/// The sum that was added, as a dense table.
void add(std::vector<double>& table, const std::vector<std::int32_t>& rows, std::uint32_t seed) {
  const auto values = random_values(rows.size() * kChannels, seed);
  for (std::size_t i = 0; i < values.size(); ++i)
    table[static_cast<std::size_t>(rows[i / kChannels]) * kChannels + i % kChannels] += values[i];
}

std::vector<double> dense_of(const SparseGradient& gradient) {
  std::vector<double> out(kRows * kChannels, 0.0);
  std::int32_t before = -1;
  for (std::int64_t i = 0; i < gradient.count(); ++i) {
    const std::int32_t row = gradient.rows().span<std::int32_t>()[static_cast<std::size_t>(i)];
    if (row <= before) throw std::runtime_error("rows do not ascend");
    before = row;
    for (std::int64_t c = 0; c < kChannels; ++c)
      out[static_cast<std::size_t>(row * kChannels + c)] = gradient.values().data<float>()[i * kChannels + c];
  }
  return out;
}

const std::vector<std::vector<std::int32_t>> kPieces = {{3, 7, 19}, {0, 3}, {}, {7}, {0, 1, 2, 3, 7, 18, 19}};

}  // namespace

BOOST_AUTO_TEST_CASE(pieces_are_merged_in_their_order) {
  for (std::size_t pieces = 0; pieces <= kPieces.size(); ++pieces) {
    Context context({}, 2, 1);
    SparseGradient gradient(kRows, kChannels);
    std::vector<double> expected(kRows * kChannels);
    for (std::size_t i = 0; i < pieces; ++i) {
      add(gradient, context, kPieces[i], static_cast<std::uint32_t>(i));
      add(expected, kPieces[i], static_cast<std::uint32_t>(i));
    }
    gradient.merge(context);
    const std::size_t counts[] = {0, 3, 4, 4, 4, 7};
    BOOST_CHECK_EQUAL(gradient.count(), static_cast<std::int64_t>(counts[pieces]));
    check_close("merged", dense_of(gradient), expected, 1e-6);
    gradient.clear();
    BOOST_CHECK_EQUAL(gradient.count(), 0);
    BOOST_CHECK(!gradient.values().defined());
  }
}

// However many micro-batches there are: never more than two tables of rows, and what is added up is the same.
BOOST_AUTO_TEST_CASE(memory_does_not_grow_with_the_pieces) {
  Context context({}, 1, 1);
  SparseGradient gradient(kRows, kChannels);
  std::vector<double> expected(kRows * kChannels);
  std::vector<std::int32_t> all(kRows);
  for (std::int32_t i = 0; i < kRows; ++i) all[static_cast<std::size_t>(i)] = i;
  std::size_t after_two = 0;
  for (std::uint32_t i = 0; i < 50; ++i) {
    add(gradient, context, all, i);
    add(expected, all, i);
    if (i == 1) after_two = context.allocator().bytes_in_use();
    if (i > 1) BOOST_CHECK_LE(context.allocator().bytes_in_use(), after_two);
  }
  gradient.merge(context);
  check_close("fifty", dense_of(gradient), expected, 2e-6);
}

BOOST_AUTO_TEST_CASE(what_is_not_merged_is_not_read) {
  Context context({}, 1, 1);
  SparseGradient gradient(kRows, kChannels);
  add(gradient, context, {1}, 1);
  add(gradient, context, {2}, 2);
  BOOST_CHECK_THROW(gradient.count(), InternalError);
  const Tensor one = context.tensor({1}, DType::kInt32), values = context.tensor({1, kChannels});
  BOOST_CHECK_THROW(gradient.add(context, one, values, 2), InternalError);
}

// A rank may have no rows, and all may have none. All ranks end with the same bits, those of one that had all pieces in order.
BOOST_AUTO_TEST_CASE(ranks_exchange_rows_and_have_the_same_bits) {
  for (int size = 1; size <= 4; ++size)
    for (const bool any : {true, false}) {
      std::vector<double> expected(kRows * kChannels);
      if (any)
        for (std::size_t i = 0; i < kPieces.size(); ++i) add(expected, kPieces[i], static_cast<std::uint32_t>(i));
      std::vector<std::vector<double>> got(static_cast<std::size_t>(size));
      const auto errors = on_ranks(size, [&](Communicator& communicator) {
        Context context({}, 1, 1);
        SparseGradient gradient(kRows, kChannels);
        for (std::size_t i = 0; any && i < kPieces.size(); ++i)
          if (static_cast<int>(i) % size == communicator.rank())
            add(gradient, context, kPieces[i], static_cast<std::uint32_t>(i));
        gradient.exchange(context, communicator);
        got[static_cast<std::size_t>(communicator.rank())] = dense_of(gradient);
      });
      for (const std::string& error : errors) BOOST_CHECK_EQUAL(error, "");
      for (const auto& of_rank : got) {
        check_close("exchanged", of_rank, expected, 1e-6);
        BOOST_CHECK(of_rank == got[0]);
      }
    }
}

}  // namespace tradewind::tests
