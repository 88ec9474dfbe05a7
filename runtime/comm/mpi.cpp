#include "runtime/comm/mpi.h"

#define OMPI_SKIP_MPICXX 1  // the C interface alone: the C++ one needs a library of its own
#include <fmt/format.h>
#include <mpi.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <cstdlib>
#include <cstring>
#include <thread>
#include <vector>

#include "kernels/base/error.h"

namespace tradewind::runtime {
namespace {

using kernels::DType;

MPI_Datatype type_of(DType dtype) {
  switch (dtype) {
    case DType::kFloat32: return MPI_FLOAT;
    case DType::kFloat64: return MPI_DOUBLE;
    case DType::kInt32: return MPI_INT32_T;
    case DType::kInt64: return MPI_INT64_T;
    case DType::kUInt64: return MPI_UINT64_T;
    case DType::kUInt8: return MPI_UINT8_T;
    case DType::kBFloat16: return MPI_UINT16_T;  // to be moved, not to be added
  }
  throw InternalError("MPI: an unknown dtype");
}

MPI_Op op_of(ReduceOp op, DType dtype) {
  if (dtype == DType::kBFloat16) throw CommError("reducing bfloat16 over MPI loses its digits; reduce in float32");
  switch (op) {
    case ReduceOp::kSum: return MPI_SUM;
    case ReduceOp::kMax: return MPI_MAX;
    case ReduceOp::kMin: return MPI_MIN;
  }
  throw InternalError("MPI: an unknown reduction");
}

class MpiCommunicator final : public Communicator {
 public:
  MpiCommunicator(FlightRecorder* recorder, std::int64_t piece) : recorder_(recorder), piece_(piece) {
    check(MPI_Comm_set_errhandler(MPI_COMM_WORLD, MPI_ERRORS_RETURN), "starting", 0);
    check(MPI_Comm_rank(MPI_COMM_WORLD, &rank_), "starting", 0);
    check(MPI_Comm_size(MPI_COMM_WORLD, &size_), "starting", 0);
  }
  int rank() const override { return rank_; }
  int size() const override { return size_; }

  void all_reduce(void* buffer, std::int64_t count, DType dtype, ReduceOp op, void*) override {
    const Call call(*this, Collective::kAllReduce, count, dtype);
    const MPI_Op how = op_of(op, dtype);
    pieces(count, piece_, [&](std::int64_t begin, int n) {
      call.check(MPI_Allreduce(MPI_IN_PLACE, at(buffer, begin, dtype), n, type_of(dtype), how, MPI_COMM_WORLD));
    });
    call.done();
  }

  void all_gather(void* receive, const void* send, std::int64_t count, DType dtype, void*) override {
    const Call call(*this, Collective::kAllGather, count * size_, dtype);
    pieces(count, share(), [&](std::int64_t begin, int n) {
      Packed to(receive, begin, n, count, dtype, size_);
      call.check(MPI_Allgather(at(send, begin, dtype), n, type_of(dtype), to.data(), n, type_of(dtype), MPI_COMM_WORLD));
      to.unpack(receive);
    });
    call.done();
  }

  void reduce_scatter(void* receive, const void* send, std::int64_t count, DType dtype, ReduceOp op, void*) override {
    const Call call(*this, Collective::kReduceScatter, count * size_, dtype);
    const MPI_Op how = op_of(op, dtype);
    pieces(count, share(), [&](std::int64_t begin, int n) {
      Packed from(const_cast<void*>(send), begin, n, count, dtype, size_);
      from.pack(send);
      call.check(MPI_Reduce_scatter_block(from.data(), at(receive, begin, dtype), n, type_of(dtype), how, MPI_COMM_WORLD));
    });
    call.done();
  }

  void all_gather_v(void* buffer, const std::int64_t* counts, DType dtype, void*) override {
    const Shares shares(counts, size_);
    const Call call(*this, Collective::kAllGather, shares.total, dtype);
    if (shares.total <= piece_) {
      call.check(MPI_Allgatherv(MPI_IN_PLACE, 0, MPI_DATATYPE_NULL, buffer, shares.counts.data(), shares.begins.data(),
                                type_of(dtype), MPI_COMM_WORLD));
    } else {
      each_share(counts, [&](int owner, std::int64_t begin, std::int64_t, int n) {
        call.check(MPI_Bcast(at(buffer, begin, dtype), n, type_of(dtype), owner, MPI_COMM_WORLD));
      });
    }
    call.done();
  }

  void reduce_scatter_v(void* receive, const void* send, const std::int64_t* counts, DType dtype, ReduceOp op, void*) override {
    const Shares shares(counts, size_);
    const Call call(*this, Collective::kReduceScatter, shares.total, dtype);
    const MPI_Op how = op_of(op, dtype);
    if (shares.total <= piece_) {
      call.check(MPI_Reduce_scatter(send, receive, shares.counts.data(), type_of(dtype), how, MPI_COMM_WORLD));
    } else {
      each_share(counts, [&](int owner, std::int64_t begin, std::int64_t in_share, int n) {
        call.check(MPI_Reduce(at(send, begin, dtype), rank_ == owner ? at(receive, in_share, dtype) : nullptr, n,
                              type_of(dtype), how, owner, MPI_COMM_WORLD));
      });
    }
    call.done();
  }

  void broadcast(void* buffer, std::int64_t count, DType dtype, int root, void*) override {
    const Call call(*this, Collective::kBroadcast, count, dtype);
    pieces(count, piece_, [&](std::int64_t begin, int n) {
      call.check(MPI_Bcast(at(buffer, begin, dtype), n, type_of(dtype), root, MPI_COMM_WORLD));
    });
    call.done();
  }

  void all_to_all(void* receive, const void* send, std::int64_t count, DType dtype, void*) override {
    const Call call(*this, Collective::kAllToAll, count * size_, dtype);
    pieces(count, share(), [&](std::int64_t begin, int n) {
      Packed from(const_cast<void*>(send), begin, n, count, dtype, size_), to(receive, begin, n, count, dtype, size_);
      from.pack(send);
      call.check(MPI_Alltoall(from.data(), n, type_of(dtype), to.data(), n, type_of(dtype), MPI_COMM_WORLD));
      to.unpack(receive);
    });
    call.done();
  }

  void barrier() override {
    const Call call(*this, Collective::kBarrier, 0, DType::kUInt8);
    call.check(MPI_Barrier(MPI_COMM_WORLD));
    call.done();
  }

 private:
  /// One collective in the flight recorder. Where it fails the recorder keeps this rank in it: that is where it stands.
  class Call {
   public:
    Call(const MpiCommunicator& owner, Collective op, std::int64_t count, DType dtype)
        : owner_(owner), op_(op), bytes_(count * static_cast<std::int64_t>(kernels::size_of(dtype))) {
      if (owner_.recorder_ != nullptr) owner_.recorder_->enter(op_, bytes_);
    }
    void check(int code) const { owner_.check(code, name_of(op_), bytes_); }
    void done() const {
      if (owner_.recorder_ != nullptr) owner_.recorder_->leave();
    }

   private:
    const MpiCommunicator& owner_;
    Collective op_;
    std::int64_t bytes_;
  };

  /// What the calls with a count for every rank want, whose numbers have 31 bits: to be used where all fits into one piece.
  struct Shares {
    Shares(const std::int64_t* shares, int size) {
      for (int r = 0; r < size; ++r) {
        counts.push_back(static_cast<int>(shares[r]));
        begins.push_back(static_cast<int>(total));
        total += shares[r];
      }
    }
    std::vector<int> counts, begins;
    std::int64_t total = 0;
  };

  /// body(owner, begin in the whole, begin in the share, n) for pieces of every rank's share.
  template <class Body>
  void each_share(const std::int64_t* counts, Body&& body) const {
    std::int64_t begin = 0;
    for (int owner = 0; owner < size_; begin += counts[owner++])
      pieces(counts[owner], piece_, [&](std::int64_t at, int n) { body(owner, begin + at, at, n); });
  }

  /// Elements [begin, begin + n) of every rank's share of `whole`, side by side as MPI wants them: `whole` itself where one
  /// piece is all, else a copy.
  class Packed {
   public:
    Packed(void* whole, std::int64_t begin, int n, std::int64_t count, DType dtype, int size)
        : begin_(begin), n_(n), count_(count), dtype_(dtype), size_(size), whole_(n == count ? whole : nullptr) {
      if (whole_ == nullptr)
        copy_.resize(static_cast<std::size_t>(n) * static_cast<std::size_t>(size) * kernels::size_of(dtype));
    }
    void* data() { return whole_ != nullptr ? whole_ : copy_.data(); }
    void pack(const void* from) {
      for (int r = 0; whole_ == nullptr && r < size_; ++r)
        std::memcpy(at(copy_.data(), std::int64_t{r} * n_, dtype_), at(from, r * count_ + begin_, dtype_), bytes());
    }
    void unpack(void* to) const {
      for (int r = 0; whole_ == nullptr && r < size_; ++r)
        std::memcpy(at(to, r * count_ + begin_, dtype_), at(copy_.data(), std::int64_t{r} * n_, dtype_), bytes());
    }

   private:
    std::size_t bytes() const { return static_cast<std::size_t>(n_) * kernels::size_of(dtype_); }
    std::int64_t begin_, n_, count_;
    DType dtype_;
    int size_;
    void* whole_;
    std::vector<char> copy_;
  };

  static void* at(void* base, std::int64_t element, DType dtype) {
    return static_cast<char*>(base) + element * static_cast<std::int64_t>(kernels::size_of(dtype));
  }
  static const void* at(const void* base, std::int64_t element, DType dtype) {
    return static_cast<const char*>(base) + element * static_cast<std::int64_t>(kernels::size_of(dtype));
  }

  /// Elements of a share in one call, so that those of all ranks together are one piece.
  std::int64_t share() const { return std::max<std::int64_t>(1, piece_ / size_); }

  template <class Body>
  static void pieces(std::int64_t count, std::int64_t piece, Body&& body) {
    for (std::int64_t begin = 0; begin < count; begin += piece) body(begin, static_cast<int>(std::min(piece, count - begin)));
  }

  void check(int code, const char* what, std::int64_t bytes) const {
    if (code == MPI_SUCCESS) return;
    char text[MPI_MAX_ERROR_STRING] = {};
    int length = 0;
    MPI_Error_string(code, text, &length);
    throw CommError(fmt::format("{} of {} bytes on rank {}: MPI says: {}", what, bytes, rank_, text));
  }

  FlightRecorder* recorder_;
  std::int64_t piece_;
  int rank_ = 0, size_ = 1;
};

bool number_above(const char* name, int bound) {
  const char* text = std::getenv(name);
  return text != nullptr && std::atoi(text) > bound;
}

}  // namespace

bool launched_as_rank() {
  if (std::getenv("OMPI_COMM_WORLD_SIZE") != nullptr) return number_above("OMPI_COMM_WORLD_SIZE", 1);
  return std::getenv("PMIX_RANK") != nullptr && number_above("SLURM_NTASKS", 1);
}

LaunchedRank launched_rank() {
  if (!launched_as_rank()) return {};
  const auto number = [](const char* name, const char* else_name) {
    const char* text = std::getenv(name);
    return std::atoi(text != nullptr ? text : std::getenv(else_name));
  };
  return {number("OMPI_COMM_WORLD_RANK", "PMIX_RANK"), number("OMPI_COMM_WORLD_SIZE", "SLURM_NTASKS")};
}

void start_mpi() {
  int provided = MPI_THREAD_SINGLE;
  if (MPI_Init_thread(nullptr, nullptr, MPI_THREAD_FUNNELED, &provided) != MPI_SUCCESS || provided < MPI_THREAD_FUNNELED)
    throw CommError("starting MPI: it does not take a program with threads");
}

void finish_mpi() { MPI_Finalize(); }

std::string mpi_version() {
  char text[MPI_MAX_LIBRARY_VERSION_STRING] = {};
  int length = 0;
  MPI_Get_library_version(text, &length);
  return std::string(text, static_cast<std::size_t>(length));
}

void leave_mpi(int code, bool decided) {
  const bool under_mpirun = std::getenv("OMPI_COMM_WORLD_SIZE") != nullptr;
  int running = 0, over = 0;
  MPI_Initialized(&running);
  MPI_Finalized(&over);
  if (decided && !under_mpirun && running != 0 && over == 0) {
    std::thread([code] {
      std::this_thread::sleep_for(std::chrono::seconds(1));
      _exit(code);
    }).detach();
    MPI_Abort(MPI_COMM_WORLD, code);
  }
  _exit(code);
}

std::unique_ptr<Communicator> make_mpi_communicator(FlightRecorder* recorder, std::int64_t piece) {
  return std::make_unique<MpiCommunicator>(recorder, piece);
}

}  // namespace tradewind::runtime
