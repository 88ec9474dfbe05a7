#include "runtime/comm/side_channel.h"

#include <arpa/inet.h>
#include <ifaddrs.h>
#include <net/if.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <utility>

#include "runtime/comm/side.h"

namespace tradewind::runtime {
namespace {

wire::Socket bound_socket(int family) {
  wire::Socket socket(::socket(family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0));
  if (!socket) return socket;
  sockaddr_storage any{};  // port 0: the system's choice
  any.ss_family = static_cast<sa_family_t>(family);
  const int off = 0;
  if (family == AF_INET6) setsockopt(socket.fd(), IPPROTO_IPV6, IPV6_V6ONLY, &off, sizeof off);  // IPv4 comes over it too
  const socklen_t size = family == AF_INET6 ? sizeof(sockaddr_in6) : sizeof(sockaddr_in);
  if (::bind(socket.fd(), reinterpret_cast<sockaddr*>(&any), size) != 0 || ::listen(socket.fd(), 1024) != 0)
    return wire::Socket();
  return socket;
}

void add_address(SideChannelAddress& out, const sockaddr* address, bool ipv6) {
  if (out.count == SideChannelAddress::kMaxAddresses) return;
  char* text = out.addresses[out.count];
  if (address->sa_family == AF_INET) {
    if (inet_ntop(AF_INET, &reinterpret_cast<const sockaddr_in*>(address)->sin_addr, text, 48) != nullptr) ++out.count;
  } else if (address->sa_family == AF_INET6 && ipv6) {
    const in6_addr& v6 = reinterpret_cast<const sockaddr_in6*>(address)->sin6_addr;
    if (!IN6_IS_ADDR_LINKLOCAL(&v6) && inet_ntop(AF_INET6, &v6, text, 48) != nullptr) ++out.count;
  }
}

/// The machine's addresses: those that other hosts can reach first, IPv4 first, the loopback last (for ranks of one host that
/// has no network).
void add_addresses(SideChannelAddress& out, bool ipv6) {
  ifaddrs* all = nullptr;
  if (getifaddrs(&all) != 0) return;
  for (const bool loopback : {false, true})
    for (const int family : {AF_INET, AF_INET6})
      for (const ifaddrs* one = all; one != nullptr; one = one->ifa_next)
        if (one->ifa_addr != nullptr && one->ifa_addr->sa_family == family && (one->ifa_flags & IFF_UP) != 0 &&
            ((one->ifa_flags & IFF_LOOPBACK) != 0) == loopback)
          add_address(out, one->ifa_addr, ipv6);
  freeifaddrs(all);
}

}  // namespace

SideChannelListener SideChannel::listen() {
  SideChannelListener out;
  bool ipv6 = true;
  out.socket = bound_socket(AF_INET6);
  if (!out.socket) {
    ipv6 = false;
    out.socket = bound_socket(AF_INET);
  }
  sockaddr_storage bound{};
  socklen_t size = sizeof bound;
  if (!out.socket || getsockname(out.socket.fd(), reinterpret_cast<sockaddr*>(&bound), &size) != 0)
    throw CommError(std::string("opening a port for the side channel of rank 0: ") + std::strerror(errno));
  out.address.port =
      ntohs(ipv6 ? reinterpret_cast<sockaddr_in6*>(&bound)->sin6_port : reinterpret_cast<sockaddr_in*>(&bound)->sin_port);
  gethostname(out.address.host, sizeof out.address.host - 1);
  add_addresses(out.address, ipv6);
  if (out.address.count == 0) throw CommError("opening a port for the side channel of rank 0: no network interface is up");
  out.address.secret = wire::random_key();
  return out;
}

SideChannel::SideChannel(int rank, int size, const SideChannelAddress& address, std::optional<SideChannelListener> listener,
                         FlightRecorder& recorder, SideChannelOptions options) {
  require(rank >= 0 && rank < size && (rank == 0) == listener.has_value(), "SideChannel", "rank 0, and only it, listens");
  side_ = rank == 0 ? detail::make_root_side(size, std::move(*listener), recorder, std::move(options))
                    : detail::make_peer_side(rank, address, recorder, std::move(options));
}

SideChannel::~SideChannel() { side_->stop(); }

void SideChannel::report_into(const std::filesystem::path& folder) { side_->report_into(folder); }

bool SideChannel::report_error(ExitCode code, const std::string& message) { return side_->report_error(code, message); }

void SideChannel::close() { side_->close(); }

}  // namespace tradewind::runtime
