// Several ranks in one process over the loopback; the end of the process is a callback. Limits are short, and waits are for
// events, with a deadline that only a hang reaches.
#include "runtime/comm/side_channel.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <sys/socket.h>

#include <boost/test/unit_test.hpp>
#include <chrono>
#include <condition_variable>
#include <deque>
#include <fstream>
#include <sstream>
#include <thread>

#include "runtime/comm/watch.h"
#include "tests/support/temporary_folder.h"

using namespace tradewind;
using namespace tradewind::runtime;

namespace {

bool has(const std::string& text, const std::string& part) { return text.find(part) != std::string::npos; }

#define CHECK_HAS(text, part) BOOST_TEST(has(text, part), "\"" << (part) << "\" is missing in: " << (text))

/// What one rank did at its end.
struct End {
  std::mutex mutex;
  std::condition_variable changed;
  int code = -1;
  std::string printed, told;

  bool wait(int seconds = 20) {
    std::unique_lock lock(mutex);
    return changed.wait_for(lock, std::chrono::seconds(seconds), [&] { return code >= 0; });
  }
  bool ended() {
    const std::lock_guard lock(mutex);
    return code >= 0;
  }
};

SideChannelOptions options_of(End& end, double heartbeat, double hang = 600) {
  SideChannelOptions options;
  options.heartbeat_seconds = heartbeat;
  options.hang_seconds = hang;
  options.connect_seconds = 5;
  options.print = [&](const std::string& report) {
    const std::lock_guard lock(end.mutex);
    end.printed += report;
  };
  options.on_failure = [&](ExitCode, const std::string& report) {
    const std::lock_guard lock(end.mutex);
    end.told = report;
  };
  options.leave = [&](int code, bool) {
    const std::lock_guard lock(end.mutex);
    end.code = code;
    end.changed.notify_all();
  };
  return options;
}

/// Ranks 0 to `real` - 1 of a job of `size`.
struct Job {
  explicit Job(int size, int real = -1, double heartbeat = 0.5, double hang = 600)
      : ends(static_cast<std::size_t>(size)), recorders(static_cast<std::size_t>(size)) {
    auto listener = SideChannel::listen();
    address = listener.address;
    ranks.push_back(std::make_unique<SideChannel>(0, size, address, std::move(listener), recorders[0],
                                                  options_of(ends[0], heartbeat, hang)));
    for (int r = 1; r < (real < 0 ? size : real); ++r) {
      const auto i = static_cast<std::size_t>(r);
      ranks.push_back(
          std::make_unique<SideChannel>(r, size, address, std::nullopt, recorders[i], options_of(ends[i], heartbeat, hang)));
    }
  }
  ~Job() { ranks.clear(); }

  std::deque<End> ends;
  std::deque<FlightRecorder> recorders;
  SideChannelAddress address;
  std::vector<std::unique_ptr<SideChannel>> ranks;
};

/// A heartbeat as it travels.
std::string heartbeat(int rank, const char* host, const FlightRecorder& recorder) {
  return std::string(1, '\1').append(report_of(rank, host, recorder, 0).encode());
}

/// A plain connection to rank 0.
wire::Socket dial(const SideChannelAddress& address) {
  wire::Socket socket(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
  sockaddr_in to{};
  to.sin_family = AF_INET;
  to.sin_port = htons(address.port);
  to.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  if (::connect(socket.fd(), reinterpret_cast<sockaddr*>(&to), sizeof to) != 0) throw std::runtime_error("connect");
  return socket;
}

/// A rank in the hands of the test: it says what it is told to.
class Puppet {
 public:
  Puppet(const SideChannelAddress& address, const wire::Key& secret) : connection_(dial(address), secret, false) {
    fcntl(connection_.fd(), F_SETFL, fcntl(connection_.fd(), F_GETFL) | O_NONBLOCK);
  }
  /// Until a message came (empty: the connection ended or broke first).
  std::string read() {
    std::string payload;
    for (int i = 0; i < 5000; ++i) {
      const bool open = connection_.receive();
      if (connection_.next(payload)) return payload;
      connection_.flush();
      if (!open) return "";
      std::this_thread::sleep_for(std::chrono::milliseconds(1));
    }
    throw std::runtime_error("rank 0 said nothing");
  }
  void await_greeting() {
    for (int i = 0; i < 5000 && !connection_.ready(); ++i) {
      std::string none;
      connection_.receive();
      connection_.next(none);
      std::this_thread::sleep_for(std::chrono::milliseconds(1));
    }
  }
  bool say(const std::string& payload) { return connection_.send(payload) && connection_.flush(); }
  void say_report(int rank, const FlightRecorder& recorder) { say(heartbeat(rank, "puppet", recorder)); }
  void say_raw(const std::string& bytes) { (void)!::send(connection_.fd(), bytes.data(), bytes.size(), MSG_NOSIGNAL); }
  /// Comes as a rank does, and has its answer.
  void join(int rank, const FlightRecorder& recorder) {
    await_greeting();
    say_report(rank, recorder);
    BOOST_REQUIRE(!read().empty());
  }

 private:
  wire::Connection connection_;
};

void pause(int milliseconds) { std::this_thread::sleep_for(std::chrono::milliseconds(milliseconds)); }

}  // namespace

BOOST_AUTO_TEST_CASE(the_keyed_hash_is_siphash) {
  // The first two vectors of the authors' reference for 128 bits: key 00..0f, message empty and 00.
  wire::Key key;
  for (std::size_t i = 0; i < key.size(); ++i) key[i] = static_cast<std::uint8_t>(i);
  const wire::Key empty = {0xa3, 0x81, 0x7f, 0x04, 0xba, 0x25, 0xa8, 0xe6, 0x6d, 0xf6, 0x72, 0x14, 0xc7, 0x55, 0x02, 0x93};
  BOOST_TEST(wire::keyed_hash(key, "") == empty);
  const wire::Key one = {0xda, 0x87, 0xc1, 0xd8, 0x6b, 0x99, 0xaf, 0x44, 0x34, 0x76, 0x59, 0x11, 0x9b, 0x22, 0xfc, 0x45};
  BOOST_TEST(wire::keyed_hash(key, std::string(1, '\0')) == one);
}

BOOST_AUTO_TEST_CASE(a_job_that_ends_well_prints_nothing_and_nobody_leaves) {
  Job job(3);
  for (int i = 0; i < 3; ++i) {
    for (auto& recorder : job.recorders) recorder.enter(Collective::kAllReduce, 64);
    for (auto& recorder : job.recorders) recorder.leave();
  }
  pause(1200);                                // beyond the limit: heartbeats keep it alive
  for (const std::size_t rank : {1, 0, 2}) {  // in any order
    job.ranks[rank]->close();
    pause(20);
  }
  for (End& end : job.ends) {
    BOOST_TEST(!end.ended());
    BOOST_TEST(end.printed == "");
  }
  BOOST_TEST(!job.ranks[1]->report_error(ExitCode::kData, "too late"));
}

BOOST_AUTO_TEST_CASE(a_rank_whose_connection_breaks_is_named_and_all_leave) {
  Job job(3);
  for (auto& recorder : job.recorders) {
    recorder.set_step(4);
    recorder.enter(Collective::kAllReduce, 4096);
  }
  pause(150);
  job.ranks[2].reset();  // as kill -9 does
  for (const std::size_t rank : {0, 1}) {
    BOOST_REQUIRE(job.ends[rank].wait());
    BOOST_TEST(job.ends[rank].code == 5);
  }
  CHECK_HAS(job.ends[0].printed, "error: rank 2 (");
  CHECK_HAS(job.ends[0].printed, "was lost: its connection");
  CHECK_HAS(job.ends[0].printed, "waits in all_reduce 1 (4096 bytes, step 4)");
  CHECK_HAS(job.ends[0].printed, "The others wait for it in all_reduce 1 (4096 bytes, step 4).");
  BOOST_TEST(job.ends[1].printed == "");  // said once, by rank 0
  CHECK_HAS(job.ends[1].told, "rank 2 (");
}

BOOST_AUTO_TEST_CASE(a_silent_rank_is_named_and_all_leave) {
  Job job(3, 2);
  Puppet silent(job.address, job.address.secret);
  silent.join(2, job.recorders[2]);
  for (const std::size_t rank : {0, 1}) {
    BOOST_REQUIRE(job.ends[rank].wait());
    BOOST_TEST(job.ends[rank].code == 5);
  }
  CHECK_HAS(job.ends[0].printed, "error: rank 2 (puppet, pid");
  CHECK_HAS(job.ends[0].printed, "nothing was heard for 0.");
  BOOST_TEST(job.ends[0].printed.starts_with("Tradewind ends the job with exit code 5."));
}

BOOST_AUTO_TEST_CASE(the_others_leave_by_themselves_when_rank_0_is_gone) {
  Job job(3);
  for (auto& recorder : job.recorders) recorder.enter(Collective::kBarrier, 0);
  pause(150);
  job.ranks[0].reset();
  for (const std::size_t rank : {1, 2}) {
    BOOST_REQUIRE(job.ends[rank].wait());
    BOOST_TEST(job.ends[rank].code == 5);
    CHECK_HAS(job.ends[rank].printed, "error: rank 0 (");
    CHECK_HAS(job.ends[rank].printed, "waits in barrier 1");
  }
}

BOOST_AUTO_TEST_CASE(the_others_leave_by_themselves_when_rank_0_is_silent) {
  auto listener = SideChannel::listen();
  SideChannelAddress address = listener.address;
  std::thread stopped([&] {  // accepts, answers once, and says no more
    wire::Socket socket;
    while (!socket) socket = wire::Socket(::accept4(listener.socket.fd(), nullptr, nullptr, SOCK_NONBLOCK));
    wire::Connection connection(std::move(socket), address.secret, true);
    std::string payload;
    while (connection.flush() && connection.receive() && !connection.next(payload)) pause(1);
    FlightRecorder recorder;
    connection.send(heartbeat(0, "quiet", recorder));
    connection.flush();
    for (int i = 0; i < 20000 && connection.receive(); ++i) {  // until the other end leaves
      while (connection.next(payload)) {
      }
      pause(1);
    }
  });
  FlightRecorder recorder;
  End end;
  {
    SideChannel rank(1, 2, address, std::nullopt, recorder, options_of(end, 0.5));
    BOOST_TEST(end.wait());
  }
  stopped.join();
  BOOST_TEST(end.code == 5);
  CHECK_HAS(end.printed, "error: rank 0 (quiet, pid");
  CHECK_HAS(end.printed, "nothing was heard for 0.");
}

BOOST_AUTO_TEST_CASE(a_mismatch_is_named_without_waiting_for_a_limit) {
  Job job(2, -1, 2.0);
  job.recorders[0].enter(Collective::kAllReduce, 4096);
  job.recorders[1].enter(Collective::kBarrier, 0);
  for (End& end : job.ends) {
    BOOST_REQUIRE(end.wait());
    BOOST_TEST(end.code == 5);
  }
  CHECK_HAS(job.ends[0].printed, "all_reduce of 4096 bytes on rank 0");
  CHECK_HAS(job.ends[0].printed, "barrier of 0 bytes on rank 1");
}

BOOST_AUTO_TEST_CASE(a_rank_that_is_stuck_elsewhere_is_named_after_the_hang_limit) {
  Job job(3, -1, 2.0, 1.0);
  for (auto& recorder : job.recorders) {
    recorder.enter(Collective::kBarrier, 0);
    recorder.leave();
  }
  job.recorders[0].enter(Collective::kAllReduce, 64);
  job.recorders[2].enter(Collective::kAllReduce, 64);
  for (End& end : job.ends) {
    BOOST_REQUIRE(end.wait());
    BOOST_TEST(end.code == 5);
  }
  CHECK_HAS(job.ends[0].printed, "error: rank 1 (");
  CHECK_HAS(job.ends[0].printed, "is alive and does not come to the collective that the others wait in: all_reduce 2");
}

BOOST_AUTO_TEST_CASE(an_error_ends_all_ranks_with_its_code_and_is_said_last) {
  for (const std::size_t failing : {0, 1, 2}) {
    Job job(3);
    for (auto& recorder : job.recorders) {
      recorder.enter(Collective::kAllGather, 12);
      recorder.leave();
    }
    BOOST_TEST(job.ranks[failing]->report_error(ExitCode::kData, "items.csv:3: no price"));
    for (End& end : job.ends) {
      BOOST_REQUIRE(end.wait());
      BOOST_TEST(end.code == 3);
    }
    const std::string& said = job.ends[0].printed;
    CHECK_HAS(said, "error: rank " + std::to_string(failing) + " (");
    CHECK_HAS(said, "after all_gather 1 (12 bytes");
    BOOST_TEST(said.ends_with("items.csv:3: no price\n"));
    for (const std::size_t other : {1, 2}) BOOST_TEST(job.ends[other].printed == "");
  }
}

BOOST_AUTO_TEST_CASE(an_error_is_said_even_where_rank_0_has_gone) {
  Job job(2);
  std::thread failing([&] { job.ranks[1]->report_error(ExitCode::kCheckpoint, "the disk is full"); });
  job.ranks[0].reset();
  failing.join();
  BOOST_REQUIRE(job.ends[1].wait());
  BOOST_TEST((job.ends[1].code == 4 || job.ends[1].code == 5));  // whichever it learnt first
}

BOOST_AUTO_TEST_CASE(every_rank_leaves_a_report_with_its_last_collectives) {
  const tests::TemporaryFolder folder;
  Job job(2);
  for (std::size_t i = 0; i < 2; ++i) {
    job.ranks[i]->report_into(folder.path());
    job.recorders[i].enter(Collective::kReduceScatter, 640);
  }
  job.ranks[1]->report_error(ExitCode::kDevice, "out of memory");
  for (End& end : job.ends) BOOST_REQUIRE(end.wait());
  for (const std::string rank : {"0", "1"}) {
    std::ostringstream text;
    text << std::ifstream(folder.path() / ("failure-rank-" + rank + ".txt")).rdbuf();
    CHECK_HAS(text.str(), "out of memory");
    CHECK_HAS(text.str(), "reduce_scatter");
    CHECK_HAS(text.str(), "still in it");
  }
}

BOOST_AUTO_TEST_CASE(strangers_do_not_disturb_the_job) {
  Job job(2, 1);
  FlightRecorder none;
  wire::Key wrong = job.address.secret;
  wrong[15] ^= 1;
  {
    Puppet stranger(job.address, wrong);
    stranger.await_greeting();
    stranger.say_report(1, none);
    BOOST_TEST(stranger.read() == "");
  }
  {
    Puppet babbler(job.address, job.address.secret);
    babbler.say_raw("GET / HTTP/1.1\r\nHost: rank0\r\n\r\n");
    bool dropped = false;
    try {
      dropped = babbler.read().empty();
    } catch (const CommError&) {
      dropped = true;
    }
    BOOST_TEST(dropped);
  }
  {
    Puppet oversized(job.address, job.address.secret);
    oversized.await_greeting();
    oversized.say(std::string(2000, 'x'));  // more than a first message may hold
    BOOST_TEST(oversized.read() == "");
  }
  {
    Puppet liar(job.address, job.address.secret);
    liar.await_greeting();
    liar.say_report(7, none);  // there is no rank 7
    BOOST_TEST(liar.read() == "");
  }
  std::deque<Puppet> idle;
  for (int i = 0; i < 100; ++i) idle.emplace_back(job.address, wrong);  // that come and say nothing
  SideChannel real(1, 2, job.address, std::nullopt, job.recorders[1], options_of(job.ends[1], 0.5));
  pause(700);
  BOOST_TEST(!job.ends[0].ended());
  BOOST_TEST(!job.ends[1].ended());
  BOOST_CHECK_THROW(dial(job.address), std::runtime_error);  // all are there: the port is closed
  real.close();
  job.ranks[0]->close();
  BOOST_TEST(job.ends[0].printed == "");
}

BOOST_AUTO_TEST_CASE(a_rank_with_a_wrong_secret_is_refused_and_says_why) {
  Job job(2, 1);
  SideChannelAddress address = job.address;
  address.secret[0] ^= 1;
  FlightRecorder recorder;
  End end;
  SideChannelOptions options = options_of(end, 0.5);
  options.connect_seconds = 0.5;
  BOOST_CHECK_EXCEPTION(SideChannel(1, 2, address, std::nullopt, recorder, options), CommError, [](const CommError& e) {
    return has(e.what(), "rank 1 on ") && has(e.what(), "could not connect") && has(e.what(), "refused");
  });
  BOOST_TEST(!job.ends[0].ended());
}

BOOST_AUTO_TEST_CASE(a_rank_that_never_comes_is_named) {
  End end;
  FlightRecorder recorder;
  auto listener = SideChannel::listen();
  const SideChannelAddress address = listener.address;
  SideChannelOptions options = options_of(end, 0.5);
  options.connect_seconds = 0.5;
  const SideChannel root(0, 2, address, std::move(listener), recorder, options);
  BOOST_REQUIRE(end.wait());
  BOOST_TEST(end.code == 5);
  CHECK_HAS(end.printed, "rank 1 did not come");
}

BOOST_AUTO_TEST_CASE(half_a_message_is_no_sign_of_life) {
  Job job(2, 1);
  Puppet half(job.address, job.address.secret);
  half.join(1, job.recorders[1]);
  half.say_raw(std::string("\x40\0\0\0half", 8));
  for (int i = 0; i < 50 && !job.ends[0].ended(); ++i) {
    half.say_raw("x");  // a byte at a time: bytes come, no message does
    pause(20);
  }
  BOOST_REQUIRE(job.ends[0].wait());
  CHECK_HAS(job.ends[0].printed, "error: rank 1 (puppet");
}

BOOST_AUTO_TEST_CASE(a_message_that_is_too_long_or_damaged_loses_the_rank) {
  for (const bool damaged : {false, true}) {
    Job job(2, 1);
    Puppet bad(job.address, job.address.secret);
    bad.join(1, job.recorders[1]);
    bad.say_raw(damaged ? std::string("\1\0\0\0", 4) + std::string(17, 'x') : std::string("\xff\xff\xff\x7f", 4));
    BOOST_REQUIRE(job.ends[0].wait());
    CHECK_HAS(job.ends[0].printed, "error: rank 1 (puppet");
    CHECK_HAS(job.ends[0].printed, damaged ? "does not prove" : "too long");
  }
}

BOOST_AUTO_TEST_CASE(a_rank_that_does_not_read_holds_nobody_up) {
  Job job(3, 2);
  Puppet deaf(job.address, job.address.secret);
  deaf.join(2, job.recorders[2]);
  for (int i = 0; i < 10; ++i) {  // alive for three limits, and never reads
    deaf.say_report(2, job.recorders[2]);
    pause(150);
  }
  BOOST_TEST(!job.ends[0].ended());
  BOOST_TEST(job.ranks[1]->report_error(ExitCode::kConfig, "stop here"));
  BOOST_REQUIRE(job.ends[0].wait());  // without the deaf one's consent
  BOOST_REQUIRE(job.ends[1].wait());
  BOOST_TEST(job.ends[0].code == 2);
  BOOST_TEST(job.ends[1].code == 2);
}
