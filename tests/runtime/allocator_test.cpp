#include "runtime/core/allocator.h"

#include <cstring>
#include <set>
#include <thread>
#include <vector>

#include "kernels/base/error.h"
#include "tests/support/oracle.h"

namespace tradewind::tests {
namespace {

BOOST_AUTO_TEST_CASE(blocks_are_aligned_apart_and_hold_what_was_asked) {
  const auto allocator = runtime::make_cpu_allocator();
  std::vector<std::pair<unsigned char*, std::size_t>> blocks;
  unsigned char mark = 0;
  for (const std::size_t bytes :
       {1UL, 63UL, 64UL, 65UL, 96UL, 97UL, 4096UL, 5000UL, 1UL << 20, (2UL << 20) - 1, 2UL << 20, 7UL << 20})
    for (int copy = 0; copy < 3; ++copy) {
      auto* p = static_cast<unsigned char*>(allocator->acquire(bytes));
      BOOST_CHECK_EQUAL(reinterpret_cast<std::uintptr_t>(p) % 64, 0U);
      std::memset(p, ++mark, bytes);
      blocks.emplace_back(p, bytes);
    }
  mark = 0;
  for (const auto& [p, bytes] : blocks) {  // nobody wrote into another's block
    ++mark;
    BOOST_CHECK(std::all_of(p, p + bytes, [&](unsigned char c) { return c == mark; }));
    allocator->release(p, bytes);
  }
  BOOST_CHECK_EQUAL(allocator->bytes_in_use(), 0U);
}

BOOST_AUTO_TEST_CASE(a_freed_block_is_used_again_and_nothing_new_is_mapped) {
  const auto allocator = runtime::make_cpu_allocator();
  void* first = allocator->acquire(3'000'000);
  allocator->release(first, 3'000'000);
  const auto mapped = allocator->bytes_mapped();
  for (int i = 0; i < 100; ++i) {
    void* again = allocator->acquire(3'000'000 - 1000 * static_cast<std::size_t>(i));
    BOOST_CHECK_EQUAL(again, first);
    allocator->release(again, 3'000'000 - 1000 * static_cast<std::size_t>(i));
  }
  BOOST_CHECK_EQUAL(allocator->bytes_mapped(), mapped);
  BOOST_CHECK_GE(allocator->peak_bytes(), 3'000'000U);
  BOOST_CHECK_LT(allocator->peak_bytes(), 6'000'000U);
}

BOOST_AUTO_TEST_CASE(threads_never_share_a_block) {
  const auto allocator = runtime::make_cpu_allocator();
  std::vector<std::vector<void*>> held(4);
  std::vector<std::thread> threads;
  for (auto& mine : held)
    threads.emplace_back([&] {
      for (int i = 0; i < 2000; ++i) {
        mine.push_back(allocator->acquire(200));
        if (i % 3 == 0) {
          allocator->release(mine.back(), 200);
          mine.pop_back();
        }
      }
    });
  for (auto& t : threads) t.join();
  std::set<void*> all;
  std::size_t count = 0;
  for (const auto& mine : held) {
    all.insert(mine.begin(), mine.end());
    count += mine.size();
  }
  BOOST_CHECK_EQUAL(all.size(), count);
}

BOOST_AUTO_TEST_CASE(more_than_there_is_names_the_remedy) {
  const auto allocator = runtime::make_cpu_allocator();
  BOOST_CHECK_EXCEPTION(allocator->acquire(std::size_t{1} << 46), DeviceError, [](const DeviceError& e) {
    return std::string(e.what()).find("train.micro_batch") != std::string::npos;
  });
}

}  // namespace
}  // namespace tradewind::tests
