// Ranks as threads of one process: collectives without MPI.
#pragma once

#include <algorithm>
#include <barrier>
#include <cstring>
#include <exception>
#include <functional>
#include <memory>
#include <stdexcept>
#include <string>
#include <thread>
#include <vector>

#include "runtime/comm/communicator.h"

namespace tradewind::tests {

/// What the threads of one group share.
struct ThreadGroup {
  explicit ThreadGroup(int ranks) : size(ranks), meet(ranks), buffers(static_cast<std::size_t>(ranks)) {}
  int size;
  std::barrier<> meet;
  std::vector<const void*> buffers;
};

/// all_gather, broadcast and barrier, which checkpoints need; sums of int64 and float64, which metrics need; all_gather_v,
/// which metrics and sparse gradients need.
class ThreadCommunicator final : public runtime::Communicator {
 public:
  ThreadCommunicator(std::shared_ptr<ThreadGroup> group, int rank) : group_(std::move(group)), rank_(rank) {}
  int rank() const override { return rank_; }
  int size() const override { return group_->size; }
  void all_gather(void* receive, const void* send, std::int64_t count, kernels::DType dtype, void*) override {
    const std::size_t bytes = static_cast<std::size_t>(count) * kernels::size_of(dtype);
    exchange(send, [&] {
      for (std::size_t r = 0; r < group_->buffers.size(); ++r)
        std::memcpy(static_cast<char*>(receive) + r * bytes, group_->buffers[r], bytes);
    });
  }
  void broadcast(void* buffer, std::int64_t count, kernels::DType dtype, int root, void*) override {
    exchange(buffer, [&] {
      if (rank_ != root)
        std::memcpy(buffer, group_->buffers[static_cast<std::size_t>(root)],
                    static_cast<std::size_t>(count) * kernels::size_of(dtype));
    });
  }
  void barrier() override { group_->meet.arrive_and_wait(); }
  void all_reduce(void* buffer, std::int64_t count, kernels::DType dtype, runtime::ReduceOp op, void*) override {
    if (op != runtime::ReduceOp::kSum) refuse();
    if (dtype == kernels::DType::kFloat64)
      sum(static_cast<double*>(buffer), count);
    else if (dtype == kernels::DType::kInt64)
      sum(static_cast<std::int64_t*>(buffer), count);
    else
      refuse();
  }
  void reduce_scatter(void*, const void*, std::int64_t, kernels::DType, runtime::ReduceOp, void*) override { refuse(); }
  void all_gather_v(void* buffer, const std::int64_t* counts, kernels::DType dtype, void*) override {
    exchange(buffer, [&] {
      std::size_t at = 0;
      for (std::size_t r = 0; r < group_->buffers.size(); ++r) {
        const std::size_t bytes = static_cast<std::size_t>(counts[r]) * kernels::size_of(dtype);
        if (r != static_cast<std::size_t>(rank_))
          std::memcpy(static_cast<char*>(buffer) + at, static_cast<const char*>(group_->buffers[r]) + at, bytes);
        at += bytes;
      }
    });
  }
  void reduce_scatter_v(void*, const void*, const std::int64_t*, kernels::DType, runtime::ReduceOp, void*) override {
    refuse();
  }
  void all_to_all(void*, const void*, std::int64_t, kernels::DType, void*) override { refuse(); }

 private:
  [[noreturn]] static void refuse() { throw std::logic_error("ThreadCommunicator: not here"); }
  template <class T>
  void sum(T* values, std::int64_t count) {
    std::vector<T> sums(static_cast<std::size_t>(count));
    exchange(values, [&] {
      for (const void* buffer : group_->buffers)
        for (std::size_t i = 0; i < sums.size(); ++i) sums[i] += static_cast<const T*>(buffer)[i];
    });
    std::copy(sums.begin(), sums.end(), values);
  }
  template <class Read>
  void exchange(const void* mine, const Read& read) {
    group_->buffers[static_cast<std::size_t>(rank_)] = mine;
    barrier();
    read();
    barrier();
  }
  std::shared_ptr<ThreadGroup> group_;
  int rank_;
};

/// Runs body(communicator) on every rank, each in a thread, and gives what each threw; "" where nothing was. Boost.Test's
/// checks are for one thread: a body throws.
inline std::vector<std::string> on_ranks(int size, const std::function<void(runtime::Communicator&)>& body) {
  const auto group = std::make_shared<ThreadGroup>(size);
  std::vector<std::string> errors(static_cast<std::size_t>(size));
  std::vector<std::thread> threads;
  for (int r = 0; r < size; ++r)
    threads.emplace_back([&, r] {
      try {
        ThreadCommunicator communicator(group, r);
        body(communicator);
      } catch (const std::exception& e) {
        errors[static_cast<std::size_t>(r)] = e.what();
      }
    });
  for (auto& thread : threads) thread.join();
  return errors;
}

}  // namespace tradewind::tests
