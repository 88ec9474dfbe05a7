// save_once RUN RANKS: goes on with the run at RUN, checks its newest checkpoint, and saves the next with RANKS threads as
// ranks. For tests that let it die or fail at any call.
#include <cstdio>
#include <cstdlib>

#include "kernels/base/error.h"
#include "runtime/checkpoint/checkpoint.h"
#include "runtime/train/run_directory.h"
#include "tests/support/thread_communicator.h"

using namespace tradewind;
using runtime::Tensor;

namespace {

constexpr std::int64_t kElements = 600;

float value_of(std::int64_t step, std::int64_t i) { return static_cast<float>(step * 1000 + i); }

void check(const runtime::Checkpoint& checkpoint) {
  for (const char* name : {"weight", "optimizer.m.weight"}) {
    float values[kElements];
    checkpoint.read(name, 0, kElements, runtime::DType::kFloat32, values);
    for (std::int64_t i = 0; i < kElements; ++i)
      if (values[i] != value_of(checkpoint.step(), i)) throw InternalError("the newest checkpoint is not what was saved");
  }
}

void save(const runtime::RunDirectory& run, std::int64_t step, int ranks) {
  const Tensor all(runtime::host_allocator(), {kElements}, runtime::DType::kFloat32);
  for (std::int64_t i = 0; i < kElements; ++i) all.data<float>()[i] = value_of(step, i);
  const auto errors = tests::on_ranks(ranks, [&](runtime::Communicator& c) {
    const std::int64_t begin = kElements * c.rank() / ranks, end = kElements * (c.rank() + 1) / ranks;
    runtime::CheckpointContents contents{.step = step, .tensors = {}, .state = {{"step_again", step}}};
    for (const char* name : {"weight", "optimizer.m.weight"})
      contents.tensors.push_back(
          {.name = name, .data = all.view(begin, {end - begin}), .global_shape = {20, kElements / 20}, .begin = begin});
    const auto folder = c.rank() == 0 ? run.checkpoint_folder() : runtime::checkpoint_folder(run.path(), run.fence());
    runtime::CheckpointWriter writer(folder, 1, c.rank(), ranks);
    writer.begin(contents);
    writer.commit(c);
  });
  for (const std::string& error : errors)
    if (!error.empty()) throw CheckpointError(error);
}

}  // namespace

int main(int argc, char** argv) {
  if (argc != 3) return 2;
  try {
    runtime::Log log;
    const runtime::RunDirectory run(argv[1], "[run]\nseed = 1\n", false, log);
    const auto newest = runtime::open_newest_checkpoint(
        run.checkpoints(), [](const std::string& warning) { throw InternalError("a checkpoint was passed over: " + warning); });
    if (newest) check(*newest);
    const std::int64_t step = newest ? newest->step() + 1 : 1;
    save(run, step, std::atoi(argv[2]));
    run.write_status(runtime::RunState::kStopped, step, 75, 1);
    return 0;
  } catch (const Error& e) {
    std::fprintf(stderr, "error: %s\n", e.what());
    return static_cast<int>(e.code());
  }
}
