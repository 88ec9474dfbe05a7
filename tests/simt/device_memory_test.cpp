// The device's memory as the runtime uses it, on the executor: blocks that are used again, copies, scalars of the step, and
// what is said where there is no device or no memory left.
#include <numeric>
#include <set>

#include "kernels/convert.h"
#include "kernels/embedding.h"
#include "runtime/core/transfer.h"
#include "runtime/train/batch_stager.h"
#include "tests/simt/fixture.h"
#include "tests/support/oracle.h"

namespace tradewind::tests {
namespace {

using kernels::DeviceFacts;
using runtime::Context;
using runtime::Purpose;
using runtime::Tensor;

bool says(const std::exception& e, const std::vector<std::string>& words) {
  for (const std::string& word : words)
    if (std::string(e.what()).find(word) == std::string::npos) return false;
  return true;
}

template <class Action>
void check_refused(const Action& action, const std::vector<std::string>& words) {
  BOOST_CHECK_EXCEPTION(action(), DeviceError, [&](const DeviceError& e) {
    BOOST_TEST_MESSAGE(e.what());
    return says(e, words) && e.code() == ExitCode::kDevice;
  });
}

std::vector<float> counted(std::size_t n, float first = 0) {
  std::vector<float> out(n);
  std::iota(out.begin(), out.end(), first);
  return out;
}

std::vector<float> values(const Tensor& tensor) {
  const Tensor host = on_host(tensor);
  const auto span = host.span<float>();
  return {span.begin(), span.end()};
}

BOOST_AUTO_TEST_CASE(what_is_carried_to_the_device_comes_back) {
  on_every_machine([](simt::Machine&) {
    Context context(kGpu, 1, 1);
    for (const std::int64_t n : {0L, 1L, 1000L}) {
      const Tensor x = context.tensor({n});
      const auto want = counted(static_cast<std::size_t>(n), 5);
      copy_from_host(x, want.data());
      BOOST_CHECK(values(x) == want);
      BOOST_CHECK(values(copy_of(context, x)) == want);
    }
    const Tensor x = context.tensor({7});
    x.fill(3);
    BOOST_CHECK(values(x) == std::vector<float>(7, 3));
    x.zero();
    BOOST_CHECK(values(x) == std::vector<float>(7, 0));
    BOOST_CHECK_THROW(x.span<float>(), InternalError);
  });
}

BOOST_AUTO_TEST_CASE(more_than_two_pieces_are_carried_whole) {
  const simt::Machine machine;
  Context context(kGpu, 1, 1);
  const Tensor x = context.tensor({(std::int64_t{9} << 20) / 4 + 3});  // pieces of 4 MiB
  const auto want = counted(static_cast<std::size_t>(x.elements()));
  copy_from_host(x, want.data());
  BOOST_CHECK(values(x) == want);
}

BOOST_AUTO_TEST_CASE(a_host_tensor_may_be_dropped_once_it_was_sent) {
  on_every_machine([](simt::Machine&) {
    Context context(kGpu, 1, 1);
    std::vector<Tensor> sent;
    for (int i = 0; i < 6; ++i) {
      const Tensor host(runtime::host_allocator(), {50}, runtime::DType::kFloat32);
      host.fill(static_cast<float>(i));
      sent.push_back(on_device(context, host));
      host.fill(-1);
    }
    for (int i = 0; i < 6; ++i)
      BOOST_CHECK(values(sent[static_cast<std::size_t>(i)]) == std::vector<float>(50, static_cast<float>(i)));
  });
}

BOOST_AUTO_TEST_CASE(results_are_gathered_and_waited_for_once) {
  on_every_machine([](simt::Machine&) {
    Context context(kGpu, 1, 1);
    runtime::Readback readback(context);
    for (int i = 0; i < 3; ++i) {
      const Tensor host(runtime::host_allocator(), {4}, runtime::DType::kFloat32);
      host.fill(static_cast<float>(i));
      readback.add(on_device(context, host));  // the device's copy goes at once; its memory is used again behind the copy
    }
    readback.wait();
    for (int i = 0; i < 3; ++i)
      BOOST_CHECK(values(readback[static_cast<std::size_t>(i)]) == std::vector<float>(4, static_cast<float>(i)));
  });
}

BOOST_AUTO_TEST_CASE(steps_staged_one_after_the_other_arrive_whole) {
  on_every_machine([](simt::Machine&) {
    Context context(kGpu, 1, 1);
    runtime::BatchStager stager(context);
    std::vector<Tensor> seen;
    for (int i = 0; i < 6; ++i) {  // nobody waits, so all copies may still be on their way
      const Tensor x(runtime::host_allocator(), {40 + 100 * (i / 3)}, runtime::DType::kFloat32);
      x.fill(static_cast<float>(i));
      runtime::StepBatch step;
      step.micro.resize(2);
      step.micro[0].fields["x"] = step.micro[1].fields["x"] = x;
      step = stager.stage(std::move(step));
      x.fill(-1);
      stager.begin();
      BOOST_CHECK(step.micro[1].on_host("x").on_host());
      seen.push_back(copy_of(context, step.micro[1]["x"]));
    }
    for (int i = 0; i < 6; ++i) {
      const auto got = values(seen[static_cast<std::size_t>(i)]);
      BOOST_CHECK(got == std::vector<float>(got.size(), static_cast<float>(i)));
    }
  });
}

BOOST_AUTO_TEST_CASE(kernels_see_the_scalars_in_the_order_of_the_stream) {
  on_every_machine([](simt::Machine&) {
    Context context(kGpu, 1, 42);
    std::vector<Tensor> seen;
    const auto look = [&] {
      const Tensor copy = context.tensor({sizeof(kernels::StepState)}, runtime::DType::kUInt8);
      copy_rows(copy.raw(), copy.bytes(), context.launch().step, copy.bytes(), copy.bytes(), 1, context);
      seen.push_back(copy);
    };
    look();
    for (int i = 1; i <= 9; ++i) {  // more than there are slots
      context.step_state().step = i;
      context.publish_step_state();
      look();
      context.step_state().step = -1;  // nobody has been told
    }
    for (int i = 0; i <= 9; ++i) {
      kernels::StepState state;
      copy_to_host(&state, seen[static_cast<std::size_t>(i)]);
      BOOST_CHECK_EQUAL(state.step, i);
      BOOST_CHECK_EQUAL(state.seed, 42U);
    }
  });
}

BOOST_AUTO_TEST_CASE(a_freed_block_is_used_again_at_once_in_its_own_stream) {
  const simt::Machine machine;
  Context context(kGpu, 1, 1);
  auto& allocator = context.allocator();
  void* first = allocator.acquire(3000);
  void* second = allocator.acquire(3000);
  const auto mapped = allocator.bytes_mapped();
  // Whatever the order of giving back: the lowest address first, so that a step that repeats itself gets the same addresses.
  for (const bool forward : {true, false}) {
    allocator.release(forward ? first : second, 3000);
    allocator.release(forward ? second : first, 3000);
    BOOST_CHECK_EQUAL(allocator.acquire(2900), std::min(first, second));
    BOOST_CHECK_EQUAL(allocator.acquire(2900), std::max(first, second));
  }
  BOOST_CHECK_EQUAL(allocator.bytes_mapped(), mapped);
  BOOST_CHECK_GE(allocator.peak_bytes(), 6000U);
  BOOST_CHECK_LE(allocator.peak_bytes(), 8000U);
  allocator.release(first, 3000);
  allocator.release(second, 3000);
}

/// A copy on a stream of its own reads a block, which is then released and taken for something else.
void use_elsewhere(bool tell) {
  Context context(kGpu, 1, 1);
  const kernels::DeviceStream other;
  const kernels::DeviceEvent made;
  auto& gpu = kernels::cuda_runtime();
  std::vector<float> seen(64, -1);
  {
    const Tensor x = context.tensor({64});
    x.zero();
    gpu.record(made.get(), context.stream());
    gpu.wait(other.get(), made.get());
    gpu.copy_to_host(seen.data(), x.raw(), x.bytes(), other.get());
    if (tell) x.record_use(other.get());
  }
  for (int i = 0; i < 5; ++i) context.tensor({64}).fill(7);
  gpu.wait_for_stream(other.get());
  BOOST_CHECK(seen == std::vector<float>(64, 0));
  context.wait();
}

BOOST_AUTO_TEST_CASE(a_block_that_another_stream_uses_waits_for_it) {
  on_every_machine([](simt::Machine&) { use_elsewhere(true); });
}

BOOST_AUTO_TEST_CASE(a_use_on_another_stream_that_nobody_told_is_caught) {
  int caught = 0;
  for (std::uint64_t seed = 1; seed <= 8; ++seed) {
    const simt::Machine machine({.seed = seed});
    try {
      use_elsewhere(false);
    } catch (const simt::Fault&) {
      ++caught;
    }
  }
  BOOST_CHECK_EQUAL(caught, 8);
}

BOOST_AUTO_TEST_CASE(all_memory_goes_back) {
  simt::Machine machine;
  {
    Context context(kGpu, 1, 1);
    const Tensor x = context.tensor({1000}),
                 y = on_device(context, Tensor(runtime::host_allocator(), {9}, runtime::DType::kInt64));
    BOOST_CHECK_GT(machine.live_allocations(), 2U);
  }
  machine.synchronize();
  BOOST_CHECK_EQUAL(machine.live_allocations(), 0U);
}

BOOST_AUTO_TEST_CASE(memory_that_is_full_says_who_holds_it_and_what_to_lower) {
  const simt::Machine machine({.capacity = std::size_t{8} << 20});
  Context context(kGpu, 1, 1);
  const Tensor parameters = context.tensor({1 << 18}, runtime::DType::kFloat32, Purpose::kParameters);
  const Tensor moments = context.tensor({1 << 19}, runtime::DType::kFloat32, Purpose::kOptimizer);
  { const Tensor cached = context.tensor({1 << 19}); }
  const Tensor activations = context.tensor({3 << 18});  // fits once what is cached has gone back
  check_refused([&] { context.tensor({1 << 20}); },
                {"4.0 MiB asked for", "of 8.0 MiB free", "parameters 1.0 MiB", "optimiser 2.0 MiB", "activations 3.0 MiB",
                 "train.micro_batch", "model.context", "precision"});
  const kernels::Launch launch = context.launch();
  check_refused([&] { launch.scratch->acquire(std::size_t{7} << 20); }, {"7.0 MiB asked for"});
  const Tensor still_works = context.tensor({100});
  still_works.zero();
  context.wait();
}

BOOST_AUTO_TEST_CASE(a_host_pointer_given_to_a_kernel_is_named) {
  const simt::Machine machine;
  Context context(kGpu, 1, 1);
  const Tensor x = context.tensor({8}), half = context.tensor({8}, runtime::DType::kBFloat16);
  const Tensor host(runtime::host_allocator(), {8}, runtime::DType::kFloat32);
  const Tensor pinned(context.pinned(), {8}, runtime::DType::kFloat32);
  for (const Tensor& wrong : {host, pinned})
    check_refused(
        [&] {
          kernels::convert(half.raw(), runtime::DType::kBFloat16, wrong.raw(), runtime::DType::kFloat32, 8, context.launch());
        },
        {"convert: from is in host memory", "copy it to the device"});
  std::vector<std::int32_t> ids(2);
  check_refused(
      [&] {
        kernels::embedding_forward(half.raw(), x.raw(), ids.data(), 2, 2, 4, kernels::Write::kAssign, runtime::DType::kFloat32,
                                   context.launch());
      },
      {"embedding_forward: ids is in host memory"});
}

BOOST_AUTO_TEST_CASE(a_machine_without_a_usable_gpu_is_told_why_and_what_to_do) {
  const auto refused = [](const simt::Options& options, const std::vector<std::string>& words) {
    const simt::Machine machine(options);
    check_refused([] { Context(kGpu, 1, 1); }, words);
    BOOST_CHECK(!kernels::why_no_cuda().empty());
  };
  refused({.driver = 0}, {"no NVIDIA driver", "install", "device = \"cpu\""});
  refused({.driver = 12080}, {"CUDA up to 12.8", "CUDA 13.0", "update the driver", "device = \"cpu\""});
  refused({.devices = 0}, {"no NVIDIA GPU", "CUDA_VISIBLE_DEVICES", "device = \"cpu\""});
  refused({.capability = 75}, {"executor", "7.5", "8.0", "device = \"cpu\""});
  const simt::Machine machine({.devices = 1});
  check_refused([] { Context({.type = kernels::DeviceType::kCuda, .index = 1}, 1, 1); }, {"no GPU 1", "only 1"});
  BOOST_CHECK_EQUAL(kernels::why_no_cuda(), "");
  // A driver of a newer CUDA serves an older build.
  BOOST_CHECK_EQUAL(
      kernels::why_unusable({.runtime = 12040, .driver = 13000, .devices = 1, .problem = {}, .name = "x", .major = 9}, 0), "");
  BOOST_CHECK_EQUAL(
      kernels::why_unusable({.runtime = 12080, .driver = 12000, .devices = 1, .problem = {}, .name = "x", .major = 8}, 0), "");
}

}  // namespace
}  // namespace tradewind::tests
