// Every collective against a naive result, on 1 to 4 ranks: the test starts itself through mpirun, and each rank compares.
#include "runtime/comm/communicator.h"

#include <boost/test/unit_test.hpp>
#include <cstdlib>
#include <iostream>
#include <vector>

#include "kernels/base/dtype.h"
#include "kernels/base/error.h"
#include "runtime/comm/mpi.h"
#include "tests/support/ranks.h"
#include "tests/support/temporary_folder.h"

using namespace tradewind;
using kernels::DType;
using runtime::Communicator;
using runtime::ReduceOp;

namespace {

/// Element i of what rank r holds: small whole numbers, so that every order of summing gives the same bits.
template <class T>
T element(int r, std::int64_t i) {
  return static_cast<T>((i * 7 + r * 13) % 11);
}

template <class T>
T reduced(int size, std::int64_t i, ReduceOp op) {
  T out = element<T>(0, i);
  for (int r = 1; r < size; ++r) {
    const T x = element<T>(r, i);
    out = op == ReduceOp::kSum ? static_cast<T>(out + x) : op == ReduceOp::kMax ? std::max(out, x) : std::min(out, x);
  }
  return out;
}

template <class T>
std::vector<T> held(int r, std::int64_t count) {
  std::vector<T> out(static_cast<std::size_t>(count));
  for (std::int64_t i = 0; i < count; ++i) out[static_cast<std::size_t>(i)] = element<T>(r, i);
  return out;
}

/// Counts the elements that are not what `expected(i)` says.
template <class T, class Expected>
std::int64_t wrong(const std::vector<T>& values, Expected&& expected) {
  std::int64_t out = 0;
  for (std::size_t i = 0; i < values.size(); ++i) out += !(values[i] == expected(static_cast<std::int64_t>(i))) ? 1 : 0;
  return out;
}

template <class T>
void check_all(Communicator& comm, DType dtype, std::int64_t count, bool reduces) {
  const int rank = comm.rank(), size = comm.size();
  BOOST_TEST_CONTEXT("rank " << rank << " of " << size << ", " << kernels::name_of(dtype) << ", count " << count) {
    for (const ReduceOp op : {ReduceOp::kSum, ReduceOp::kMax, ReduceOp::kMin}) {
      if (!reduces) continue;
      std::vector<T> all = held<T>(rank, count);
      comm.all_reduce(all.data(), count, dtype, op, nullptr);
      BOOST_TEST(wrong(all, [&](auto i) { return reduced<T>(size, i, op); }) == 0);
      const std::vector<T> send = held<T>(rank, count * size);
      std::vector<T> share(static_cast<std::size_t>(count));
      comm.reduce_scatter(share.data(), send.data(), count, dtype, op, nullptr);
      BOOST_TEST(wrong(share, [&](auto i) { return reduced<T>(size, rank * count + i, op); }) == 0);
    }
    const std::vector<T> mine = held<T>(rank, count), parts = held<T>(rank, count * size);
    std::vector<T> gathered(static_cast<std::size_t>(count * size)), exchanged = gathered;
    comm.all_gather(gathered.data(), mine.data(), count, dtype, nullptr);
    BOOST_TEST(wrong(gathered, [&](auto i) { return element<T>(static_cast<int>(i / count), i % count); }) == 0);
    comm.all_to_all(exchanged.data(), parts.data(), count, dtype, nullptr);
    BOOST_TEST(wrong(exchanged, [&](auto i) { return element<T>(static_cast<int>(i / count), rank * count + i % count); }) ==
               0);
    // Shares that differ, one of them empty.
    std::vector<std::int64_t> counts;
    std::int64_t total = 0, begin = 0;
    for (int r = 0; r < size; ++r) {
      counts.push_back(r == 1 ? 0 : count + r);
      if (r == rank) begin = total;
      total += counts.back();
    }
    const std::int64_t own = counts[static_cast<std::size_t>(rank)];
    std::vector<T> whole(static_cast<std::size_t>(total));
    for (std::int64_t i = 0; i < own; ++i) whole[static_cast<std::size_t>(begin + i)] = element<T>(0, begin + i);
    comm.all_gather_v(whole.data(), counts.data(), dtype, nullptr);
    BOOST_TEST(wrong(whole, [&](auto i) { return element<T>(0, i); }) == 0);
    if (reduces) {
      const std::vector<T> send = held<T>(rank, total);
      std::vector<T> share(static_cast<std::size_t>(own));
      comm.reduce_scatter_v(share.data(), send.data(), counts.data(), dtype, ReduceOp::kSum, nullptr);
      BOOST_TEST(wrong(share, [&](auto i) { return reduced<T>(size, begin + i, ReduceOp::kSum); }) == 0);
    }
    for (int root = 0; root < size; ++root) {
      std::vector<T> sent = held<T>(rank, count);
      comm.broadcast(sent.data(), count, dtype, root, nullptr);
      BOOST_TEST(wrong(sent, [&](auto i) { return element<T>(root, i); }) == 0);
    }
    comm.barrier();
  }
}

void as_a_rank() {
  runtime::start_mpi();
  for (const std::int64_t piece : {std::int64_t{1} << 28, std::int64_t{16}}) {  // the small one splits every count below
    runtime::FlightRecorder recorder;
    const auto comm = runtime::make_mpi_communicator(&recorder, piece);
    for (const std::int64_t count : {0, 1, 7, 16, 17, 100}) {
      check_all<float>(*comm, DType::kFloat32, count, true);
      check_all<double>(*comm, DType::kFloat64, count, true);
      check_all<std::int32_t>(*comm, DType::kInt32, count, true);
      check_all<std::int64_t>(*comm, DType::kInt64, count, true);
      check_all<std::uint64_t>(*comm, DType::kUInt64, count, true);
      check_all<std::uint8_t>(*comm, DType::kUInt8, count, true);
      check_all<std::uint16_t>(*comm, DType::kBFloat16, count, false);
    }
    BOOST_TEST(!recorder.last().inside());
    BOOST_TEST((recorder.last().op == runtime::Collective::kBarrier));
    std::uint16_t half = 0;
    BOOST_CHECK_THROW(comm->all_reduce(&half, 1, DType::kBFloat16, ReduceOp::kSum, nullptr), CommError);
  }
  runtime::finish_mpi();
}

}  // namespace

BOOST_AUTO_TEST_CASE(collectives_equal_a_naive_result_on_1_to_4_ranks) {
  if (std::getenv("OMPI_COMM_WORLD_SIZE") != nullptr) return as_a_rank();
  const tests::TemporaryFolder folder;
  for (const int ranks : {1, 2, 3, 4}) {
    const auto command = tests::under_mpirun(ranks, {std::filesystem::read_symlink("/proc/self/exe").string()});
    if (command.empty()) {
      std::cout << "SKIPPED runtime/communicator_test: there is no mpirun; install openmpi-bin\n";
      return;
    }
    const tests::Outcome outcome = tests::Command(command, folder.path()).wait();
    BOOST_TEST(outcome.code == 0, ranks << " ranks: " << outcome);
  }
}

BOOST_AUTO_TEST_CASE(a_world_of_one_is_the_identity) {
  const auto comm = runtime::make_single_communicator();
  check_all<float>(*comm, DType::kFloat32, 100, true);
  check_all<std::int64_t>(*comm, DType::kInt64, 7, true);
}

BOOST_AUTO_TEST_CASE(a_program_that_was_started_alone_is_no_rank) {
  if (std::getenv("OMPI_COMM_WORLD_SIZE") != nullptr) return;
  BOOST_TEST(!runtime::launched_as_rank());
}
