#include <cstring>

#include "runtime/comm/communicator.h"

namespace tradewind::runtime {
namespace {

class SingleCommunicator final : public Communicator {
 public:
  int rank() const override { return 0; }
  int size() const override { return 1; }
  void all_reduce(void*, std::int64_t, kernels::DType, ReduceOp, void*) override {}
  void all_gather(void* receive, const void* send, std::int64_t count, kernels::DType dtype, void*) override {
    copy(receive, send, count, dtype);
  }
  void reduce_scatter(void* receive, const void* send, std::int64_t count, kernels::DType dtype, ReduceOp, void*) override {
    copy(receive, send, count, dtype);
  }
  void all_gather_v(void*, const std::int64_t*, kernels::DType, void*) override {}
  void reduce_scatter_v(void* receive, const void* send, const std::int64_t* counts, kernels::DType dtype, ReduceOp,
                        void*) override {
    copy(receive, send, counts[0], dtype);
  }
  void broadcast(void*, std::int64_t, kernels::DType, int, void*) override {}
  void all_to_all(void* receive, const void* send, std::int64_t count, kernels::DType dtype, void*) override {
    copy(receive, send, count, dtype);
  }
  void barrier() override {}

 private:
  static void copy(void* to, const void* from, std::int64_t count, kernels::DType dtype) {
    if (to != from) std::memcpy(to, from, static_cast<std::size_t>(count) * kernels::size_of(dtype));
  }
};

}  // namespace

std::unique_ptr<Communicator> make_single_communicator() { return std::make_unique<SingleCommunicator>(); }

}  // namespace tradewind::runtime
