#include "runtime/comm/flight_recorder.h"

#include <atomic>
#include <boost/test/unit_test.hpp>
#include <thread>

using tradewind::runtime::Collective;
using tradewind::runtime::CollectiveRecord;
using tradewind::runtime::FlightRecorder;

BOOST_AUTO_TEST_CASE(an_empty_recorder_has_no_collective) {
  const FlightRecorder recorder;
  BOOST_TEST(recorder.last().sequence == 0U);
  BOOST_TEST(!recorder.last().inside());
  BOOST_TEST(recorder.recent().empty());
}

BOOST_AUTO_TEST_CASE(a_collective_is_inside_until_it_is_left) {
  FlightRecorder recorder;
  recorder.set_step(7);
  recorder.enter(Collective::kAllReduce, 4096);
  CollectiveRecord last = recorder.last();
  BOOST_TEST(last.inside());
  BOOST_TEST(last.sequence == 1U);
  BOOST_TEST(last.bytes == 4096);
  BOOST_TEST(last.step == 7);
  BOOST_TEST(recorder.text().find("all_reduce") != std::string::npos);
  BOOST_TEST(recorder.text().find("still in it") != std::string::npos);
  recorder.leave();
  last = recorder.last();
  BOOST_TEST(!last.inside());
  BOOST_TEST(last.end >= last.begin);
  BOOST_TEST(recorder.text().find("still in it") == std::string::npos);
}

BOOST_AUTO_TEST_CASE(the_ring_keeps_the_newest_in_order) {
  FlightRecorder recorder;
  for (int i = 1; i <= 1000; ++i) {
    recorder.enter(Collective::kBroadcast, i);
    recorder.leave();
  }
  const auto all = recorder.recent();
  BOOST_REQUIRE(all.size() == FlightRecorder::kCapacity);
  for (std::size_t i = 0; i < all.size(); ++i) {
    BOOST_TEST(all[i].sequence == 1000 - all.size() + 1 + i);
    BOOST_TEST(all[i].bytes == static_cast<std::int64_t>(all[i].sequence));
  }
  BOOST_TEST(recorder.recent(3).size() == 3U);
  BOOST_TEST(recorder.recent(3).back().sequence == 1000U);
}

BOOST_AUTO_TEST_CASE(histories_differ_from_the_first_difference_on) {
  FlightRecorder a, b;
  for (int i = 0; i < 10; ++i) {
    a.enter(Collective::kAllReduce, 64);
    b.enter(Collective::kAllReduce, i == 4 ? 65 : 64);
    BOOST_TEST((a.last().history == b.last().history) == (i < 4));
    a.leave();
    b.leave();
  }
  FlightRecorder c, d;
  c.enter(Collective::kAllReduce, 0);
  d.enter(Collective::kBarrier, 0);
  BOOST_TEST(c.last().history != d.last().history);
}

BOOST_AUTO_TEST_CASE(another_thread_reads_whole_records) {
  FlightRecorder recorder;
  std::atomic<bool> done = false;
  std::thread writer([&] {
    for (int i = 1; i <= 20000; ++i) {
      recorder.enter(Collective::kAllToAll, i);
      recorder.leave();
    }
    done = true;
  });
  std::uint64_t seen = 0;
  bool whole = true;
  while (!done)
    for (const CollectiveRecord& r : recorder.recent(16)) {
      whole = whole && r.bytes == static_cast<std::int64_t>(r.sequence) && r.op == Collective::kAllToAll;
      seen = r.sequence;
    }
  writer.join();
  BOOST_TEST(whole);
  BOOST_TEST(seen <= 20000U);
}
