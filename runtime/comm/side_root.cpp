// Rank 0's end of the side channel: hears all ranks, decides, gives the order to stop.
#include <fmt/format.h>
#include <poll.h>
#include <sys/socket.h>

#include <algorithm>
#include <list>
#include <vector>

#include "runtime/comm/side.h"

namespace tradewind::runtime::detail {
namespace {

class RootSide final : public Side {
 public:
  RootSide(int size, SideChannelListener listener, FlightRecorder& recorder, SideChannelOptions options)
      : Side(0, recorder, std::move(options)),
        size_(size),
        listener_(std::move(listener.socket)),
        secret_(listener.address.secret),
        watch_(size, {limit(), nanoseconds(options_.hang_seconds), nanoseconds(options_.connect_seconds)}, steady_now()) {
    start();
  }

 private:
  struct Peer {
    Peer(wire::Socket socket, const wire::Key& secret, std::int64_t now)
        : connection(std::move(socket), secret, true), since(now) {}
    wire::Connection connection;
    std::int64_t since;
    std::int64_t rank = -1;  // -1: a stranger, until it has proved itself and said who it is
    bool gone = false;
  };

  void run() override;
  void wait_for_events(int milliseconds);
  void accept_strangers();
  void drop_strangers(std::int64_t now);
  void serve(Peer& peer);
  void lose(const Peer& peer, const std::string& why);
  void hear(Peer& peer, const std::string& payload);
  void close_peer(Peer& peer);
  void send_all(const std::string& payload);
  void beat(std::int64_t now);
  void ask();
  void end_job();
  void say_goodbye();
  void drain(double seconds);

  const int size_;
  wire::Socket listener_;
  const wire::Key secret_;
  Watch watch_;
  std::list<Peer> peers_;
  std::optional<Failure> failure_;  // the first
  bool lost_ = false;               // it is a rank that is gone or silent
  std::int64_t next_beat_ = 0;
  std::int64_t stopped_ = 0, woke_ = 0;  // how long this process itself stood still a moment ago, in nanoseconds
};

void RootSide::run() {
  std::int64_t before = steady_now();
  while (true) {
    wait_for_events(tick());
    const std::int64_t now = steady_now();
    if (now - before > limit() / 2) {  // this process was stopped
      watch_.forgive(now - before);
      stopped_ = now - before;
      woke_ = now;
    }
    if (now - woke_ > limit()) stopped_ = 0;  // the others did not mind
    before = now;
    watch_.heard(own_report(), now);
    for (Peer& peer : peers_) serve(peer);
    const Requests requests = take_requests();
    if (requests.abandon) return;
    if (requests.error && !failure_) failure_ = watch_.told(0, requests.error->code, requests.error->message);
    if (!failure_ && requests.close) return say_goodbye();
    if (!failure_) {
      failure_ = watch_.judge(now);
      lost_ = failure_ && watch_.silent(now);
    }
    if (failure_) return end_job();
    if (listener_) accept_strangers();
    drop_strangers(now);
    beat(now);
  }
}

void RootSide::wait_for_events(int milliseconds) {
  std::vector<pollfd> fds = {{wake_fd(), POLLIN, 0}};
  if (listener_) fds.push_back({listener_.fd(), POLLIN, 0});
  for (const Peer& peer : peers_)
    fds.push_back({peer.connection.fd(), static_cast<short>(peer.connection.wants_to_write() ? POLLIN | POLLOUT : POLLIN), 0});
  ::poll(fds.data(), fds.size(), milliseconds);
}

void RootSide::accept_strangers() {
  const std::int64_t now = steady_now();
  while (true) {
    wire::Socket socket(::accept4(listener_.fd(), nullptr, nullptr, SOCK_NONBLOCK | SOCK_CLOEXEC));
    if (!socket) return;
    tune_socket(socket.fd(), options_.heartbeat_seconds);
    peers_.emplace_back(std::move(socket), secret_, now);
  }
}

/// A stranger has a fifth of a connect limit to prove itself; more of them than ranks are missing push the oldest out.
void RootSide::drop_strangers(std::int64_t now) {
  std::erase_if(peers_, [&](const Peer& peer) {
    return peer.gone || (peer.rank < 0 && now - peer.since > std::min(limit(), nanoseconds(options_.connect_seconds) / 5));
  });
  const auto stranger = [](const Peer& peer) { return peer.rank < 0; };
  for (auto many = std::count_if(peers_.begin(), peers_.end(), stranger); many > size_ + 32; --many)
    peers_.erase(std::find_if(peers_.begin(), peers_.end(), stranger));
  if (listener_ && watch_.all_joined()) {  // nobody else is expected
    listener_ = wire::Socket();
    std::erase_if(peers_, stranger);
  }
}

void RootSide::serve(Peer& peer) {
  if (peer.gone) return;
  const bool open = peer.connection.receive();
  try {
    for (std::string payload; !peer.gone && peer.connection.next(payload);) hear(peer, payload);
    if (!peer.gone && (!open || !peer.connection.flush())) {
      lose(peer, peer.connection.why());
      close_peer(peer);
    }
  } catch (const std::exception& e) {  // a stranger that cannot prove itself, or a rank whose bytes were damaged on the way
    lose(peer, e.what());
    close_peer(peer);
  }
}

void RootSide::lose(const Peer& peer, const std::string& why) {
  if (peer.rank < 0 || failure_) return;
  failure_ = watch_.lost(peer.rank, why);
  lost_ = true;
}

void RootSide::hear(Peer& peer, const std::string& payload) {
  if (payload.empty()) throw CommError("an empty message");
  const std::string_view body = std::string_view(payload).substr(1);
  const std::int64_t now = steady_now();
  switch (static_cast<Message>(payload[0])) {
    case Message::kReport: {
      const RankReport report = RankReport::decode(body);
      if (peer.rank < 0) {
        const bool taken = std::any_of(peers_.begin(), peers_.end(), [&](const Peer& p) { return p.rank == report.rank; });
        if (report.rank < 1 || report.rank >= size_ || taken) throw CommError("it says that it is a rank that it cannot be");
        peer.rank = report.rank;
        next_beat_ = 0;  // it waits for the answer
      }
      if (report.rank != peer.rank) throw CommError("it says that it is another rank");
      watch_.heard(own_report(), now);  // first, so that both windows are of one moment
      watch_.heard(report, now);
      return;
    }
    case Message::kError: {
      wire::Reader in(body);
      const auto code = static_cast<ExitCode>(in.i64());
      in.i64();
      if (peer.rank >= 0 && !failure_) failure_ = watch_.told(peer.rank, code, in.text());
      return;
    }
    case Message::kGoodbye:
      if (peer.rank >= 0) watch_.left(peer.rank);
      close_peer(peer);
      return;
    case Message::kStop:
    case Message::kAsk: break;
  }
  throw CommError("a message of a kind that no rank sends");
}

void RootSide::close_peer(Peer& peer) {
  peer.connection.end_of_sending();
  peer.gone = true;
}

void RootSide::send_all(const std::string& payload) {
  for (Peer& peer : peers_) {
    if (peer.gone || peer.rank < 0) continue;
    if (!peer.connection.send(payload)) lose(peer, "it does not read what rank 0 says");
    peer.connection.flush();
  }
}

void RootSide::beat(std::int64_t now) {
  if (now < next_beat_) return;
  next_beat_ = now + interval();
  RankReport report = own_report();
  report.recent.clear();
  send_all(message(Message::kReport, report.encode()));
}

/// Reads on while the others leave: closing a connection with unread bytes would take the last word from its other end.
void RootSide::drain(double seconds) {
  const std::int64_t until = steady_now() + nanoseconds(seconds);
  std::erase_if(peers_, [](const Peer& peer) { return peer.gone || peer.rank < 0; });
  while (!peers_.empty() && steady_now() < until) {
    wait_for_events(10);
    std::erase_if(peers_, [](Peer& peer) {
      std::string payload;
      const bool open = peer.connection.flush() && peer.connection.receive();
      try {
        while (peer.connection.next(payload)) {
        }
      } catch (const CommError&) {
        return true;
      }
      return !open;
    });
  }
}

/// Where are they now? The last heartbeats may be a fifth of a limit old, and by now the others wait for the one that failed.
void RootSide::ask() {
  const std::int64_t asked = steady_now();
  const Failure first = *failure_;
  send_all(message(Message::kAsk));
  while (steady_now() - asked < 150'000'000 && !watch_.all_heard_since(asked, first.rank)) {
    wait_for_events(10);
    for (Peer& peer : peers_) serve(peer);
  }
  watch_.heard(own_report(), steady_now());
  const std::string collective = watch_.waited_for(asked);
  if (!collective.empty()) failure_->message += "\nThe others wait for it in " + collective + ".";
}

void RootSide::end_job() {
  if (lost_) {
    if (stopped_ > 0) {
      failure_ =
          watch_.told(0, ExitCode::kDevice,
                      fmt::format("this process was stopped for {:.1f} s (cluster.heartbeat_seconds = {:g}); the others have "
                                  "left without it",
                                  static_cast<double>(stopped_) * 1e-9, options_.heartbeat_seconds));
    } else {
      ask();
    }
  }
  const Failure failure = *failure_;
  const std::string report = headline(failure.code) + watch_.positions(steady_now()) + "error: " + failure.message + "\n";
  publish(failure, report, true);
  wait_published(1.0);  // before the launcher hears of the first rank that leaves and ends this one
  send_all(message(Message::kStop, encode(failure, report)));
  drain(1.0);
  wait_published(0.5);
  leave(failure.code, true);
}

void RootSide::say_goodbye() {
  send_all(message(Message::kGoodbye));
  for (Peer& peer : peers_) {
    peer.connection.flush();
    if (!peer.connection.wants_to_write()) peer.connection.end_of_sending();
  }
  drain(1.0);
}

}  // namespace

std::unique_ptr<Side> make_root_side(int size, SideChannelListener listener, FlightRecorder& recorder,
                                     SideChannelOptions options) {
  return std::make_unique<RootSide>(size, std::move(listener), recorder, std::move(options));
}

}  // namespace tradewind::runtime::detail
