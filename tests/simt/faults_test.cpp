// Faults planted in kernels and launchers are caught, by name, at every seed and under both schedules; the same code without
// the fault runs clean.
#include <boost/test/unit_test.hpp>
#include <functional>

#include "kernels/base/launch.h"
#include "kernels/cuda/device/stream.cuh"
#include "tests/simt/machine.h"

using namespace tradewind;
using namespace tradewind::kernels;
using tradewind::simt::Schedule;

namespace {

enum class Plant : int { kNothing, kLeading, kTrailing, kMask, kWait, kBounds };

/// Runs `body` at several seeds and schedules: must fault with every word of `words` (one that is empty: must not fault).
void expect_fault(const std::vector<std::string>& words, const std::function<void()>& body) {
  for (const Schedule schedule : {Schedule::kRandom, Schedule::kWarpAhead})
    for (std::uint64_t seed = 1; seed <= 8; ++seed) {
      std::string message;
      try {
        simt::Machine machine({.seed = seed, .schedule = schedule, .memory = std::size_t{1} << 22});
        body();
        machine.synchronize();
      } catch (const simt::Fault& fault) {
        message = fault.what();
      }
      if (words.empty()) BOOST_CHECK_MESSAGE(message.empty(), "seed " << seed << ": " << message);
      for (const std::string& word : words)
        BOOST_CHECK_MESSAGE(message.find(word) != std::string::npos,
                            "seed " << seed << ": no '" << word << "' in '" << message << "'");
    }
}

float* floats(std::size_t count, Stream s = nullptr) {
  auto* p = static_cast<float*>(device_allocate(count * sizeof(float), s));
  fill_bytes(p, 0, count * sizeof(float), s);
  return p;
}

// Sums tiles that all threads load and all threads read: the shape of every tiled kernel.
TRADEWIND_KERNEL void tiles(float* out, const float* in, int count, Plant plant) {
  auto* tile = reinterpret_cast<float*>(shared_arena());
  const int t = linear_thread(), n = static_cast<int>(block_size().x);
  float sum = 0;
  for (int i = 0; i < count; ++i) {
    store(tile + t, load(in + i * n + t));
    if (plant != Plant::kLeading) sync_block();
    sum += load(tile + (t + 37) % n);
    if (plant != Plant::kTrailing) sync_block();
  }
  store(out + t, sum);
}

void run_tiles(Plant plant) {
  float *in = floats(512), *out = floats(128);
  launch(tiles, Index3{1}, Index3{128}, 128 * sizeof(float), nullptr, out, in, 4, plant);
}

// The same with asynchronous copies, two tiles in flight.
TRADEWIND_KERNEL void copied_tiles(float* out, const float* in, int count, Plant plant) {
  auto* tile = reinterpret_cast<float*>(shared_arena());
  const int t = linear_thread(), n = static_cast<int>(block_size().x);
  const auto fetch = [&](int i) {
    if (i < count) copy_async(tile + (i % 2 * n + t) * 4, in + (i * n + t) * 4);
    copy_async_commit();
  };
  float sum = 0;
  fetch(0);
  for (int i = 0; i < count; ++i) {
    fetch(i + 1);
    if (plant == Plant::kWait)
      copy_async_wait<2>();
    else
      copy_async_wait<1>();
    if (plant != Plant::kLeading) sync_block();
    sum += load(tile + (i % 2 * n + (t + 37) % n) * 4 + 1);
    if (plant != Plant::kTrailing) sync_block();
  }
  copy_async_wait<0>();
  store(out + t, sum);
}

void run_copied_tiles(Plant plant) {
  float *in = floats(2048), *out = floats(128);
  launch(copied_tiles, Index3{1}, Index3{128}, 2 * 128 * 16, nullptr, out, in, 4, plant);
}

TRADEWIND_KERNEL void halves(float* out, Plant plant) {
  const int l = lane();
  float x = static_cast<float>(l);
  if (l < 16) x += shuffle_xor(x, 8, plant == Plant::kMask ? kFullWarp : 0x0000FFFFU);
  sync_warp();
  store(out + l, x);
}

TRADEWIND_KERNEL void bounded(float* out, Plant plant) {
  auto* x = reinterpret_cast<float*>(shared_arena());
  const int t = linear_thread(), shift = plant == Plant::kBounds ? 1 : 0;
  store(x + t + shift, 1.0F);
  sync_block();
  store(out + t, load(x + 63 - t + shift));
}

TRADEWIND_KERNEL void scale(float* x, float by) { store(x + linear_thread(), load(x + linear_thread()) * by); }
TRADEWIND_KERNEL void scale_by_state(float* x, const StepState* state) {
  store(x + linear_thread(), load(x + linear_thread()) * load(&state->learning_rate));
}
TRADEWIND_KERNEL void copy_out(float* out, const float* in) { store(out + linear_thread(), load(in + linear_thread())); }

}  // namespace

BOOST_AUTO_TEST_CASE(a_missing_barrier_is_caught) {
  expect_fault({}, [] { run_tiles(Plant::kNothing); });
  expect_fault({"faults_test.cpp", "thread ("}, [] { run_tiles(Plant::kLeading); });
  expect_fault({"race", "no barrier orders them"}, [] { run_tiles(Plant::kTrailing); });
}

BOOST_AUTO_TEST_CASE(a_missing_barrier_around_copies_is_caught) {
  expect_fault({}, [] { run_copied_tiles(Plant::kNothing); });
  expect_fault({"faults_test.cpp"}, [] { run_copied_tiles(Plant::kLeading); });
  expect_fault({"faults_test.cpp"}, [] { run_copied_tiles(Plant::kTrailing); });
}

BOOST_AUTO_TEST_CASE(a_missing_wait_for_a_copy_is_caught) {
  expect_fault({"asynchronous copy that was not waited for"}, [] { run_copied_tiles(Plant::kWait); });
}

BOOST_AUTO_TEST_CASE(copies_in_flight_at_the_end_are_caught) {
  static constexpr auto kKernel = +[](const float* in) { copy_async(shared_arena() + 16 * lane(), in + 4 * lane()); };
  expect_fault({"ends with asynchronous copies"}, [] { launch(kKernel, Index3{1}, Index3{32}, 512, nullptr, floats(128)); });
}

BOOST_AUTO_TEST_CASE(a_wrong_shuffle_mask_is_caught) {
  const auto run = [](Plant plant) { launch(halves, Index3{1}, Index3{32}, 0, nullptr, floats(32), plant); };
  expect_fault({}, [&] { run(Plant::kNothing); });
  expect_fault({"divergence"}, [&] { run(Plant::kMask); });
  static constexpr auto kOther =
      +[](float* out) { store(out + lane(), shuffle(1.0F, 3, lane() < 16 ? 0x0000FFF7U : 0xFFFF0000U)); };
  expect_fault({"not in"}, [] { launch(kOther, Index3{1}, Index3{32}, 0, nullptr, floats(32)); });
}

BOOST_AUTO_TEST_CASE(divergence_at_a_barrier_is_caught) {
  static constexpr auto kTwoPlaces = +[] {
    if (linear_thread() < 32) sync_block();
    if (linear_thread() >= 32) sync_block();
  };
  static constexpr auto kEarlyEnd = +[] {
    if (linear_thread() != 5) sync_block();
  };
  expect_fault({"divergence", "sync_block"}, [] { launch(kTwoPlaces, Index3{1}, Index3{64}, 0, nullptr); });
  expect_fault({"divergence", "sync_block"}, [] { launch(kEarlyEnd, Index3{1}, Index3{64}, 0, nullptr); });
}

BOOST_AUTO_TEST_CASE(a_deadlock_is_reported) {
  static constexpr auto kKernel = +[] {
    if (warp() == 0)
      sync_named<1>(64);
    else
      sync_named<2>(64);
  };
  expect_fault({"deadlock", "64 threads"}, [] { launch(kKernel, Index3{1}, Index3{64}, 0, nullptr); });
}

BOOST_AUTO_TEST_CASE(accesses_out_of_bounds_are_caught) {
  const auto run = [](Plant plant) { launch(bounded, Index3{1}, Index3{64}, 256, nullptr, floats(64), plant); };
  expect_fault({}, [&] { run(Plant::kNothing); });
  expect_fault({"out of bounds", "shared memory", "thread (63, 0, 0)"}, [&] { run(Plant::kBounds); });
  expect_fault({"out of bounds", "global memory"}, [] { launch(scale, Index3{1}, Index3{64}, 0, nullptr, floats(63), 2.0F); });
  static float on_the_host[32];
  expect_fault({"host pointer"}, [] { launch(scale, Index3{1}, Index3{32}, 0, nullptr, &on_the_host[0], 2.0F); });
  static constexpr auto kMisaligned = +[](float* x) { store(reinterpret_cast<Vector16*>(x + 1), Vector16{}); };
  expect_fault({"misaligned"}, [] { launch(kMisaligned, Index3{1}, Index3{1}, 0, nullptr, floats(8)); });
  static constexpr auto kRaw = +[](float* x) { x[8] = 1; };
  expect_fault({"red zone"}, [] { launch(kRaw, Index3{1}, Index3{1}, 0, nullptr, floats(8)); });
}

BOOST_AUTO_TEST_CASE(uninitialised_reads_are_caught) {
  static constexpr auto kShared = +[](float* out) { store(out, load(reinterpret_cast<const float*>(shared_arena()))); };
  expect_fault({"uninitialised", "shared memory"}, [] { launch(kShared, Index3{1}, Index3{1}, 64, nullptr, floats(1)); });
  expect_fault({"uninitialised", "global memory"},
               [] { launch(scale, Index3{1}, Index3{1}, 0, nullptr, static_cast<float*>(device_allocate(4, nullptr)), 2.0F); });
}

BOOST_AUTO_TEST_CASE(blocks_that_touch_the_same_bytes_are_caught) {
  expect_fault({"race", "nothing orders blocks"}, [] { launch(scale, Index3{2}, Index3{32}, 0, nullptr, floats(32), 2.0F); });
}

BOOST_AUTO_TEST_CASE(a_missing_event_wait_is_caught) {
  const auto run = [](bool waits) {
    const Stream a = stream_create(), b = stream_create();
    const Event event = event_create();
    float *x = floats(32, a), *y = floats(32, b);
    stream_synchronize(a);
    launch(scale, Index3{1}, Index3{32}, 0, a, x, 2.0F);
    event_record(event, a);
    if (waits) event_wait(b, event);
    launch(copy_out, Index3{1}, Index3{32}, 0, b, y, x);
  };
  expect_fault({}, [&] { run(true); });
  expect_fault({"missing event wait"}, [&] { run(false); });
}

BOOST_AUTO_TEST_CASE(a_use_after_free_across_streams_is_caught) {
  const auto run = [](bool waits) {
    const Stream a = stream_create(), b = stream_create();
    const Event made = event_create(), used = event_create();
    float *x = floats(32, a), *y = floats(32, b);
    event_record(made, a);
    event_wait(b, made);
    launch(copy_out, Index3{1}, Index3{32}, 0, b, y, x);
    event_record(used, b);
    if (waits) event_wait(a, used);
    device_free(x, a);
  };
  expect_fault({}, [&] { run(true); });
  expect_fault({"free"}, [&] { run(false); });
  expect_fault({"use after free"}, [] {  // on one stream the order itself is wrong
    float *x = floats(32), *y = floats(32);
    device_free(x, nullptr);
    launch(copy_out, Index3{1}, Index3{32}, 0, nullptr, y, x);
  });
}

BOOST_AUTO_TEST_CASE(a_cached_block_that_is_used_again_too_early_is_caught) {
  const auto run = [](bool waits, std::size_t used) {
    const Stream a = stream_create(), b = stream_create();
    const Event made = event_create(), read = event_create();
    float *x = floats(32, a), *y = floats(32, b);
    event_record(made, a);
    event_wait(b, made);
    launch(copy_out, Index3{1}, Index3{32}, 0, b, y, x);
    event_record(read, b);
    if (waits) event_wait(a, read);
    block_forget(x, used, 128, a);
    fill_bytes(x, 0, 128, a);
  };
  expect_fault({}, [&] { run(true, 128); });
  expect_fault({"race"}, [&] { run(false, 128); });
  expect_fault({"out of bounds"}, [&] { run(true, 100); });  // 28 bytes more than were asked for
  expect_fault({"uninitialised"}, [] {
    float *x = floats(32), *y = floats(32);
    block_forget(x, 128, 128, nullptr);
    launch(copy_out, Index3{1}, Index3{32}, 0, nullptr, y, x);
  });
}

BOOST_AUTO_TEST_CASE(a_host_copy_that_nobody_waited_for_is_not_there) {
  for (std::uint64_t seed = 1; seed <= 8; ++seed) {
    const simt::Machine machine({.seed = seed});
    float result = -1;
    copy_to_host(&result, floats(1), sizeof result, nullptr);
    BOOST_CHECK_EQUAL(result, -1);
    stream_synchronize(nullptr);
    BOOST_CHECK_EQUAL(result, 0);
  }
}

BOOST_AUTO_TEST_CASE(a_scalar_by_value_in_a_captured_step_is_caught) {
  const simt::Machine machine;
  StepState state{};
  float* x = floats(32);
  auto* device_state = static_cast<StepState*>(device_allocate(sizeof(StepState), nullptr));
  const auto capture = [&](bool by_value, float learning_rate) {
    state.learning_rate = learning_rate;
    capture_begin(nullptr);
    if (by_value)
      launch(scale, Index3{1}, Index3{32}, 0, nullptr, x, state.learning_rate);
    else
      launch(scale_by_state, Index3{1}, Index3{32}, 0, nullptr, x, device_state);
    return capture_end(nullptr);
  };
  BOOST_CHECK_EQUAL(simt::difference(capture(false, 0.1F), capture(false, 0.2F)), "");
  const std::string found = simt::difference(capture(true, 0.1F), capture(true, 0.2F));
  BOOST_CHECK_MESSAGE(found.find("argument 1") != std::string::npos && found.find("StepState") != std::string::npos, found);
}

BOOST_AUTO_TEST_CASE(operations_run_in_any_order_that_dependencies_allow) {
  std::vector<std::string> orders;
  for (std::uint64_t seed = 1; seed <= 40; ++seed) {
    simt::Machine machine({.seed = seed});
    std::string order;
    const Stream a = stream_create(), b = stream_create();
    const Event event = event_create();
    const auto note = [&](const char* name, Stream s) {
      machine.enqueue(
          name, [&order, name](std::uint32_t) { order += name; }, nullptr, s);
    };
    note("1", a), event_record(event, a), note("2", a);
    note("x", b), event_wait(b, event), note("y", b);
    machine.synchronize();
    BOOST_CHECK(order.size() == 4 && order.find('1') < order.find('2') && order.find('x') < order.find('y') &&
                order.find('1') < order.find('y'));
    if (std::find(orders.begin(), orders.end(), order) == orders.end()) orders.push_back(order);
  }
  BOOST_CHECK_EQUAL(orders.size(), 5U);  // of 4! / (2! 2!) = 6 less the one with y before 1
}

BOOST_AUTO_TEST_CASE(shapes_that_no_device_accepts_are_refused) {
  static constexpr auto kKernel = +[] {};
  expect_fault({"threads"}, [] { launch(kKernel, Index3{1}, Index3{1025}, 0, nullptr); });
  expect_fault({"grid"}, [] { launch(kKernel, Index3{1, 65536}, Index3{1}, 0, nullptr); });
  expect_fault({"shared memory"}, [] { launch(kKernel, Index3{1}, Index3{1}, 240 * 1024, nullptr); });
}
