#include "runtime/comm/watch.h"

#include <boost/test/unit_test.hpp>

using namespace tradewind;
using runtime::Collective;
using runtime::FlightRecorder;
using runtime::RankReport;
using runtime::Watch;

namespace {

constexpr std::int64_t kSecond = 1'000'000'000;

Watch watch_of(std::int64_t size) { return Watch(size, {10 * kSecond, 600 * kSecond, 60 * kSecond}, 0); }

RankReport report(std::int64_t rank, const FlightRecorder& recorder) {
  return runtime::report_of(rank, "node" + std::to_string(rank / 2 + 1), recorder, Watch::kWindow);
}

bool has(const std::string& text, const std::string& part) { return text.find(part) != std::string::npos; }

#define CHECK_HAS(text, part) BOOST_TEST(has(text, part), "\"" << (part) << "\" is missing in: " << (text))

}  // namespace

BOOST_AUTO_TEST_CASE(a_report_survives_the_wire_and_a_cut_one_is_refused) {
  FlightRecorder recorder;
  recorder.set_step(9);
  for (int i = 0; i < 40; ++i) {
    recorder.enter(Collective::kReduceScatter, 100 + i);
    if (i < 39) recorder.leave();
  }
  const RankReport sent = report(3, recorder);
  const std::string bytes = sent.encode();
  const RankReport got = RankReport::decode(bytes);
  BOOST_TEST(got.rank == 3);
  BOOST_TEST(got.host == "node2");
  BOOST_TEST(got.pid == sent.pid);
  BOOST_TEST(got.inside);
  BOOST_TEST(got.step == 9);
  BOOST_TEST(got.last.sequence == 40U);
  BOOST_TEST(got.recent.size() == Watch::kWindow);
  BOOST_TEST(got.recent.front().history == sent.recent.front().history);
  BOOST_TEST(runtime::position_of(got, 0) == runtime::position_of(sent, 0));
  for (std::size_t size = 0; size < bytes.size(); ++size)
    BOOST_CHECK_THROW(RankReport::decode(std::string_view(bytes).substr(0, size)), CommError);
}

BOOST_AUTO_TEST_CASE(all_well_is_no_failure) {
  Watch watch = watch_of(3);
  FlightRecorder recorder;
  for (std::int64_t t = 0; t < 100; ++t)
    for (std::int64_t rank = 0; rank < 3; ++rank) {
      watch.heard(report(rank, recorder), t * kSecond);
      BOOST_TEST(!watch.judge(t * kSecond));
    }
}

BOOST_AUTO_TEST_CASE(a_silent_rank_is_named_with_its_host_and_place) {
  Watch watch = watch_of(4);
  FlightRecorder stopped, waiting;
  for (int i = 0; i < 5; ++i) {
    stopped.enter(Collective::kAllReduce, 4096);
    stopped.leave();
    waiting.enter(Collective::kAllReduce, 4096);
    waiting.leave();
  }
  waiting.enter(Collective::kAllReduce, 64);
  for (std::int64_t rank = 0; rank < 4; ++rank) watch.heard(report(rank, rank == 3 ? stopped : waiting), 0);
  for (std::int64_t rank = 0; rank < 3; ++rank) watch.heard(report(rank, waiting), 9 * kSecond);
  BOOST_TEST(!watch.judge(10 * kSecond));
  const auto failure = watch.judge(10 * kSecond + 1);
  BOOST_REQUIRE(failure);
  BOOST_TEST(failure->rank == 3);
  BOOST_TEST((failure->code == ExitCode::kDevice));
  CHECK_HAS(failure->message, "rank 3 (node2, pid");
  CHECK_HAS(failure->message, "was lost");
  CHECK_HAS(failure->message, "after all_reduce 5");
  const std::string places = watch.positions(10 * kSecond + 1);
  CHECK_HAS(places, "rank 0 (node1, pid");
  CHECK_HAS(places, "waits in all_reduce 6 (64 bytes");
  CHECK_HAS(places, "not heard for 10.0 s");
}

BOOST_AUTO_TEST_CASE(ranks_of_a_host_that_was_cut_off_are_named_together) {
  Watch watch = watch_of(6);
  FlightRecorder recorder;
  for (std::int64_t rank = 0; rank < 6; ++rank) watch.heard(report(rank, recorder), rank == 5 ? kSecond : 0);
  for (std::int64_t rank = 0; rank < 4; ++rank) watch.heard(report(rank, recorder), 10 * kSecond);
  const auto failure = watch.judge(10 * kSecond + 1);
  BOOST_REQUIRE(failure);
  CHECK_HAS(failure->message, "rank 4 (node3");
  CHECK_HAS(failure->message, "rank 5 (node3");
  BOOST_TEST(!has(failure->message, "rank 3"));
  BOOST_TEST(!has(failure->message, "cut off"));
}

BOOST_AUTO_TEST_CASE(where_all_others_are_silent_the_own_host_is_suspected) {
  Watch watch = watch_of(4);
  FlightRecorder recorder;
  for (std::int64_t rank = 0; rank < 4; ++rank) watch.heard(report(rank, recorder), rank < 2 ? 9 * kSecond : 0);
  const auto failure = watch.judge(11 * kSecond);
  BOOST_REQUIRE(failure);
  CHECK_HAS(failure->message, "it may be node1 that was cut off");
}

BOOST_AUTO_TEST_CASE(time_in_which_this_process_was_stopped_is_forgiven) {
  Watch watch = watch_of(2);
  FlightRecorder recorder;
  watch.heard(report(1, recorder), 0);
  watch.forgive(50 * kSecond);
  BOOST_TEST(!watch.judge(55 * kSecond));
  BOOST_TEST(watch.judge(61 * kSecond).has_value());
}

BOOST_AUTO_TEST_CASE(a_rank_that_never_comes_is_named) {
  Watch watch = watch_of(3);
  FlightRecorder recorder;
  watch.heard(report(1, recorder), 59 * kSecond);
  BOOST_TEST(!watch.judge(60 * kSecond));
  const auto failure = watch.judge(61 * kSecond);
  BOOST_REQUIRE(failure);
  BOOST_TEST(failure->rank == 2);
  CHECK_HAS(failure->message, "rank 2 did not come");
}

BOOST_AUTO_TEST_CASE(a_rank_that_left_is_not_missed) {
  Watch watch = watch_of(3);
  FlightRecorder recorder;
  for (std::int64_t rank = 0; rank < 3; ++rank) watch.heard(report(rank, recorder), 0);
  watch.left(2);
  watch.heard(report(1, recorder), 30 * kSecond);
  BOOST_TEST(!watch.judge(31 * kSecond));
}

BOOST_AUTO_TEST_CASE(another_collective_at_one_sequence_number_is_named_at_once) {
  for (const bool size_differs : {false, true}) {
    Watch watch = watch_of(2);
    FlightRecorder a, b;
    a.enter(Collective::kAllReduce, 4096);
    b.enter(size_differs ? Collective::kAllReduce : Collective::kBarrier, size_differs ? 4100 : 4096);
    watch.heard(report(0, a), 0);
    BOOST_TEST(!watch.judge(0));
    watch.heard(report(1, b), 0);
    const auto failure = watch.judge(0);
    BOOST_REQUIRE(failure);
    CHECK_HAS(failure->message, "collective 1 is all_reduce of 4096 bytes on rank 0 (node1");
    CHECK_HAS(failure->message, size_differs ? "all_reduce of 4100 bytes on rank 1" : "barrier of 4096 bytes on rank 1");
  }
}

BOOST_AUTO_TEST_CASE(a_collective_that_was_skipped_long_ago_is_found_by_the_history) {
  Watch watch = watch_of(2);
  FlightRecorder a, b;
  for (int i = 0; i < 300; ++i) {
    if (i != 20) {
      b.enter(Collective::kAllReduce, i == 21 ? 8 : 64);
      b.leave();
    }
    a.enter(Collective::kAllReduce, i == 21 ? 8 : 64);
    a.leave();
  }
  watch.heard(report(0, a), 0);
  watch.heard(report(1, b), 0);
  const auto failure = watch.judge(0);
  BOOST_REQUIRE(failure);
  CHECK_HAS(failure->message, "made other collectives before number");
}

BOOST_AUTO_TEST_CASE(ranks_that_lag_by_a_few_collectives_agree) {
  Watch watch = watch_of(2);
  FlightRecorder a, b;
  for (int i = 0; i < 100; ++i) {
    a.enter(Collective::kAllReduce, 64 + i % 3);
    a.leave();
    if (i < 90) b.enter(Collective::kAllReduce, 64 + i % 3);
    if (i < 90) b.leave();
    watch.heard(report(0, a), 0);
    watch.heard(report(1, b), 0);
    BOOST_TEST(!watch.judge(0));
  }
}

BOOST_AUTO_TEST_CASE(a_rank_that_is_alive_and_does_not_come_is_named) {
  Watch watch = watch_of(3);
  FlightRecorder waiting, elsewhere;
  for (FlightRecorder* recorder : {&waiting, &elsewhere}) {
    recorder->enter(Collective::kBarrier, 0);
    recorder->leave();
  }
  waiting.enter(Collective::kAllReduce, 64);
  for (const std::int64_t t : {0, 599, 601}) {
    for (std::int64_t rank = 0; rank < 3; ++rank) {
      RankReport said = report(rank, rank == 1 ? elsewhere : waiting);
      said.since = t * kSecond;
      watch.heard(said, t * kSecond);
    }
    const auto failure = watch.judge(t * kSecond);
    BOOST_TEST(failure.has_value() == (t > 600));
    if (!failure) continue;
    BOOST_TEST(failure->rank == 1);
    CHECK_HAS(failure->message, "rank 1 (node1");
    CHECK_HAS(failure->message, "does not come to the collective that the others wait in: all_reduce 2");
  }
}

BOOST_AUTO_TEST_CASE(a_collective_that_does_not_end_with_all_in_it_blames_the_network) {
  Watch watch = watch_of(2);
  FlightRecorder waiting;
  waiting.enter(Collective::kAllReduce, 64);
  for (std::int64_t rank = 0; rank < 2; ++rank) {
    RankReport said = report(rank, waiting);
    said.since = 700 * kSecond;
    watch.heard(said, 700 * kSecond);
  }
  const auto failure = watch.judge(700 * kSecond);
  BOOST_REQUIRE(failure);
  CHECK_HAS(failure->message, "all ranks are in all_reduce 1");
}

BOOST_AUTO_TEST_CASE(a_failure_that_was_told_keeps_its_code_and_gets_a_place) {
  Watch watch = watch_of(2);
  FlightRecorder recorder;
  recorder.enter(Collective::kBroadcast, 8);
  recorder.leave();
  watch.heard(report(1, recorder), 0);
  const auto failure = watch.told(1, ExitCode::kData, "items.csv:3: no price");
  BOOST_TEST((failure.code == ExitCode::kData));
  CHECK_HAS(failure.message, "rank 1 (node1, pid");
  CHECK_HAS(failure.message, "after broadcast 1");
  CHECK_HAS(failure.message, "items.csv:3: no price");
}

BOOST_AUTO_TEST_CASE(positions_of_many_ranks_stay_short) {
  Watch watch = watch_of(1000);
  FlightRecorder recorder;
  recorder.enter(Collective::kAllReduce, 64);
  for (std::int64_t rank = 0; rank < 1000; ++rank) watch.heard(report(rank, recorder), rank == 777 ? 0 : 11 * kSecond);
  const std::string places = watch.positions(11 * kSecond);
  BOOST_TEST(places.size() < 2000U);
  CHECK_HAS(places, "rank 777");
  CHECK_HAS(places, "and 991 more ranks");
}
