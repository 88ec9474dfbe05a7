// Ranks as threads of one process: collectives without MPI.
#pragma once

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

/// all_gather, broadcast and barrier: what checkpoints need.
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
  void all_reduce(void*, std::int64_t, kernels::DType, runtime::ReduceOp, void*) override { refuse(); }
  void reduce_scatter(void*, const void*, std::int64_t, kernels::DType, runtime::ReduceOp, void*) override { refuse(); }
  void all_gather_v(void*, const std::int64_t*, kernels::DType, void*) override { refuse(); }
  void reduce_scatter_v(void*, const void*, const std::int64_t*, kernels::DType, runtime::ReduceOp, void*) override {
    refuse();
  }
  void all_to_all(void*, const void*, std::int64_t, kernels::DType, void*) override { refuse(); }

 private:
  [[noreturn]] static void refuse() { throw std::logic_error("ThreadCommunicator: not here"); }
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
