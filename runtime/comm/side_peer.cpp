// The other ranks' end of the side channel: tells rank 0 where this rank is and obeys; decides alone where rank 0 is gone.
#include <arpa/inet.h>
#include <fmt/format.h>
#include <netinet/in.h>
#include <poll.h>
#include <sys/socket.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <thread>

#include "runtime/comm/side.h"

namespace tradewind::runtime::detail {
namespace {

bool wait_for(int fd, short events, std::int64_t until) {
  const std::int64_t left = (until - steady_now()) / 1'000'000;
  pollfd one = {fd, events, 0};
  return left > 0 && ::poll(&one, 1, static_cast<int>(std::min<std::int64_t>(left, 1000))) > 0;
}

/// A connection to one address, or none with `why`.
wire::Socket connect_to(const char* text, std::uint16_t port, std::int64_t until, std::string& why) {
  sockaddr_storage to{};
  socklen_t size = 0;
  if (auto* v4 = reinterpret_cast<sockaddr_in*>(&to); inet_pton(AF_INET, text, &v4->sin_addr) == 1) {
    v4->sin_family = AF_INET;
    v4->sin_port = htons(port);
    size = sizeof *v4;
  } else if (auto* v6 = reinterpret_cast<sockaddr_in6*>(&to); inet_pton(AF_INET6, text, &v6->sin6_addr) == 1) {
    v6->sin6_family = AF_INET6;
    v6->sin6_port = htons(port);
    size = sizeof *v6;
  } else {
    why = "no address";
    return wire::Socket();
  }
  wire::Socket socket(::socket(to.ss_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0));
  int error = 0;
  socklen_t length = sizeof error;
  if (!socket || (::connect(socket.fd(), reinterpret_cast<sockaddr*>(&to), size) != 0 && errno != EINPROGRESS)) {
    error = errno;
  } else if (!wait_for(socket.fd(), POLLOUT, until)) {
    error = ETIMEDOUT;
  } else {
    getsockopt(socket.fd(), SOL_SOCKET, SO_ERROR, &error, &length);
  }
  if (error == 0) return socket;
  why = std::strerror(error);
  return wire::Socket();
}

class PeerSide final : public Side {
 public:
  PeerSide(int rank, const SideChannelAddress& address, FlightRecorder& recorder, SideChannelOptions options)
      : Side(rank, recorder, std::move(options)) {
    root_.host = std::string(address.host, strnlen(address.host, sizeof address.host));
    connect(address);
    start();
  }

 private:
  void connect(const SideChannelAddress& address);
  bool greet(wire::Connection& connection, std::int64_t until, std::string& why);
  void run() override;
  bool hear();  // false: the channel is over
  void lose_root(const std::string& why);
  void say_goodbye();

  std::optional<wire::Connection> connection_;
  RankReport root_;  // rank 0's last word
  std::int64_t heard_ = 0;
  std::optional<Failure> own_;  // told to rank 0
};

void PeerSide::connect(const SideChannelAddress& address) {
  const std::int64_t until = steady_now() + nanoseconds(options_.connect_seconds);
  std::string tried;
  do {
    tried.clear();
    for (int i = 0; i < std::clamp(address.count, 0, SideChannelAddress::kMaxAddresses); ++i) {
      std::string why;
      const std::int64_t now = steady_now(), share = std::max<std::int64_t>((until - now) / 4, 1'000'000);
      wire::Socket socket = connect_to(address.addresses[i], address.port, std::min(until, now + share), why);
      if (socket) {
        tune_socket(socket.fd(), options_.heartbeat_seconds);
        wire::Connection connection(std::move(socket), address.secret, false);
        if (greet(connection, until, why)) {
          connection_.emplace(std::move(connection));
          return;
        }
      }
      tried += fmt::format("\n  {} port {}: {}", address.addresses[i], address.port, why);
    }
    std::this_thread::sleep_for(std::chrono::milliseconds(50));
  } while (steady_now() < until);
  throw CommError(
      fmt::format("rank {} on {} could not connect to the side channel of rank 0 on {} within {:g} s; it tried:{}\nCan this "
                  "host open TCP connections to that one? The port is any that the system gives.",
                  rank_, options_.host, root_.host, options_.connect_seconds, tried));
}

/// Proves who this is and waits for rank 0's answer.
bool PeerSide::greet(wire::Connection& connection, std::int64_t until, std::string& why) {
  try {
    std::string payload;
    for (bool told = false; steady_now() < until;) {
      const bool open = connection.receive();
      if (connection.next(payload) && !payload.empty() && payload[0] == static_cast<char>(Message::kReport)) {
        root_ = RankReport::decode(std::string_view(payload).substr(1));
        heard_ = steady_now();
        return true;
      }
      if (connection.ready() && !told) {
        RankReport report = own_report();
        report.recent.clear();  // the first message is short
        told = connection.send(message(Message::kReport, report.encode()));
      }
      if (!open || !connection.flush()) {
        why = "it was refused, " + connection.why();
        return false;
      }
      wait_for(connection.fd(), POLLIN, until);
    }
    why = "there was no answer in time";
  } catch (const CommError& e) {
    why = e.what();
  }
  return false;
}

void PeerSide::run() {
  std::int64_t before = steady_now(), next_beat = 0;
  while (true) {
    pollfd fds[] = {{wake_fd(), POLLIN, 0},
                    {connection_->fd(), static_cast<short>(connection_->wants_to_write() ? POLLIN | POLLOUT : POLLIN), 0}};
    ::poll(fds, 2, tick());
    const std::int64_t now = steady_now();
    if (now - before > limit() / 2) heard_ += now - before;  // this process was stopped
    before = now;
    const bool open = connection_->receive();
    try {
      if (!hear()) return;
    } catch (const std::exception& e) {
      return lose_root(e.what());
    }
    const Requests requests = take_requests();
    if (requests.abandon) return;
    if (requests.error && !own_) {
      own_ = requests.error;
      next_beat = 0;
      connection_->send(message(Message::kReport, own_report().encode()));  // the place where it failed
      connection_->send(message(Message::kError, encode(*own_)));
    }
    if (requests.close && !own_) return say_goodbye();
    if (now >= next_beat) {
      next_beat = now + interval();
      if (!connection_->send(message(Message::kReport, own_report().encode()))) return lose_root("it does not read");
    }
    if (!open || !connection_->flush()) return lose_root(connection_->why());
    if (now - heard_ > limit())
      return lose_root(fmt::format("nothing was heard for {:.1f} s (cluster.heartbeat_seconds = {:g})",
                                   static_cast<double>(now - heard_) * 1e-9, options_.heartbeat_seconds));
  }
}

bool PeerSide::hear() {
  for (std::string payload; connection_->next(payload);) {
    if (payload.empty()) throw CommError("an empty message");
    const std::string_view body = std::string_view(payload).substr(1);
    switch (static_cast<Message>(payload[0])) {
      case Message::kReport:
        root_ = RankReport::decode(body);
        heard_ = steady_now();
        break;
      case Message::kStop: {
        wire::Reader in(body);
        Failure failure;
        failure.code = static_cast<ExitCode>(in.i64());
        failure.rank = in.i64();
        failure.message = in.text();
        publish(failure, in.text(), false);  // rank 0 says it, once
        wait_published(1.0);
        leave(failure.code, false);
        return false;
      }
      case Message::kAsk: connection_->send(message(Message::kReport, own_report().encode())); break;
      case Message::kGoodbye: say_goodbye(); return false;
      case Message::kError: throw CommError("a message of a kind that rank 0 does not send");
    }
  }
  return true;
}

void PeerSide::lose_root(const std::string& why) {
  const Failure lost = {ExitCode::kDevice, 0,
                        fmt::format("{} was lost: {}. {} on {} leaves by itself", name_of(root_), why,
                                    fmt::format("Rank {}", rank_), options_.host)};
  const Failure& failure = own_ ? *own_ : lost;
  std::string report =
      fmt::format("{}  {}: its last word: {}\n  {}: {}\n  and the others are not known to rank {}\n", headline(failure.code),
                  name_of(root_), position_of(root_, 0), name_of(own_report()), position_of(own_report(), 0), rank_);
  if (own_) report += "  and " + lost.message + "\n";
  report += "error: " + (own_ ? name_of(own_report()) + ": " : std::string()) + failure.message + "\n";
  publish(failure, report, true);
  wait_published(1.0);
  leave(failure.code, true);
}

/// Waits for rank 0 to have read it.
void PeerSide::say_goodbye() {
  const std::int64_t until = steady_now() + 1'000'000'000;
  connection_->send(message(Message::kGoodbye));
  bool ended = false;
  try {
    for (std::string payload; steady_now() < until;) {
      const bool open = connection_->flush() && connection_->receive();
      while (connection_->next(payload)) {
      }
      if (!open) return;
      if (!ended && !connection_->wants_to_write()) {
        connection_->end_of_sending();
        ended = true;
      }
      wait_for(connection_->fd(), POLLIN, steady_now() + 20'000'000);
    }
  } catch (const CommError&) {  // nothing depends on it any more
  }
}

}  // namespace

std::unique_ptr<Side> make_peer_side(int rank, const SideChannelAddress& address, FlightRecorder& recorder,
                                     SideChannelOptions options) {
  return std::make_unique<PeerSide>(rank, address, recorder, std::move(options));
}

}  // namespace tradewind::runtime::detail
