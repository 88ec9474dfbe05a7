#include "runtime/comm/wire.h"

#include <sys/random.h>
#include <sys/socket.h>
#include <unistd.h>

#include <bit>
#include <cerrno>
#include <cstring>

#include "kernels/base/error.h"

namespace tradewind::runtime::wire {
namespace {

static_assert(std::endian::native == std::endian::little, "messages are little-endian");

constexpr std::string_view kMagic = "TWSIDE1\n";
constexpr std::size_t kGreeting = kMagic.size() + sizeof(Key);

struct SipState {
  std::uint64_t v0, v1, v2, v3;
  void round() {
    v0 += v1;
    v1 = std::rotl(v1, 13) ^ v0;
    v0 = std::rotl(v0, 32);
    v2 += v3;
    v3 = std::rotl(v3, 16) ^ v2;
    v0 += v3;
    v3 = std::rotl(v3, 21) ^ v0;
    v2 += v1;
    v1 = std::rotl(v1, 17) ^ v2;
    v2 = std::rotl(v2, 32);
  }
  void absorb(std::uint64_t word) {
    v3 ^= word;
    round();
    round();
    v0 ^= word;
  }
  std::uint64_t squeeze() {
    for (int i = 0; i < 4; ++i) round();
    return v0 ^ v1 ^ v2 ^ v3;
  }
};

std::string_view view(const Key& key) { return {reinterpret_cast<const char*>(key.data()), key.size()}; }

Key key_of(std::string_view bytes) {
  Key key;
  std::memcpy(key.data(), bytes.data(), key.size());
  return key;
}

/// Takes as long for a tag that differs in its first byte as for one that differs in its last.
bool same(const Key& a, const Key& b) {
  unsigned difference = 0;
  for (std::size_t i = 0; i < a.size(); ++i) difference |= static_cast<unsigned>(a[i] ^ b[i]);
  return difference == 0;
}

}  // namespace

Key random_key() {
  Key key;
  if (getrandom(key.data(), key.size(), 0) != static_cast<ssize_t>(key.size()))
    throw CommError("drawing a secret for the side channel: the system gives no random bytes");
  return key;
}

Key keyed_hash(const Key& key, std::string_view bytes) {
  std::uint64_t k[2];
  std::memcpy(k, key.data(), sizeof k);
  SipState s = {k[0] ^ 0x736f6d6570736575U, k[1] ^ 0x646f72616e646f6dU ^ 0xEEU, k[0] ^ 0x6c7967656e657261U,
                k[1] ^ 0x7465646279746573U};
  const std::size_t whole = bytes.size() / 8 * 8;
  std::uint64_t word = 0;
  for (std::size_t i = 0; i < whole; i += 8) {
    std::memcpy(&word, bytes.data() + i, 8);
    s.absorb(word);
  }
  word = static_cast<std::uint64_t>(bytes.size()) << 56;
  for (std::size_t i = whole; i < bytes.size(); ++i) word |= std::uint64_t{static_cast<std::uint8_t>(bytes[i])} << (i % 8 * 8);
  s.absorb(word);
  std::uint64_t out[2];
  s.v2 ^= 0xEEU;
  out[0] = s.squeeze();
  s.v1 ^= 0xDDU;
  out[1] = s.squeeze();
  Key hash;
  std::memcpy(hash.data(), out, sizeof out);
  return hash;
}

Socket::~Socket() {
  if (fd_ >= 0) ::close(fd_);
}

void Writer::text(std::string_view value) {
  u64(value.size());
  put(value.data(), value.size());
}

std::string Reader::text() {
  const std::uint64_t size = u64();
  if (size > bytes_.size()) throw CommError("a message on the side channel ends in the middle of a text");
  std::string out(bytes_.substr(0, size));
  bytes_.remove_prefix(size);
  return out;
}

void Reader::take(void* to, std::size_t size) {
  if (size > bytes_.size()) throw CommError("a message on the side channel is too short");
  std::memcpy(to, bytes_.data(), size);
  bytes_.remove_prefix(size);
}

Connection::Connection(Socket socket, const Key& secret, bool accepting)
    : socket_(std::move(socket)), secret_(secret), nonce_(random_key()), accepting_(accepting) {
  if (accepting_) out_ = std::string(kMagic) + std::string(view(nonce_));
}

bool Connection::receive() {
  char buffer[16 << 10];
  while (in_.size() < 2 * kMaxPayload) {  // more stays in the system's buffer until these are taken
    const ssize_t got = ::recv(socket_.fd(), buffer, sizeof buffer, MSG_DONTWAIT);
    if (got > 0) {
      in_.append(buffer, static_cast<std::size_t>(got));
      continue;
    }
    if (got < 0 && errno == EINTR) continue;
    if (got < 0 && (errno == EAGAIN || errno == EWOULDBLOCK)) return true;
    why_ = got == 0 ? "its connection was closed" : std::string("its connection broke: ") + std::strerror(errno);
    return false;
  }
  return true;
}

bool Connection::greeting() {
  if (in_.size() < kGreeting) return false;
  if (std::string_view(in_).substr(0, kMagic.size()) != kMagic) throw CommError("no side channel of Tradewind speaks there");
  const Key theirs = key_of(std::string_view(in_).substr(kMagic.size()));
  in_.erase(0, kGreeting);
  if (!accepting_) out_ = std::string(kMagic) + std::string(view(nonce_)) + out_;
  const Key &first = accepting_ ? nonce_ : theirs, &second = accepting_ ? theirs : nonce_;
  key_ = keyed_hash(secret_, std::string(view(first)) + std::string(view(second)));
  return ready_ = true;
}

Key Connection::tag(bool theirs, std::uint64_t counter, std::string_view payload) const {
  Writer bound;
  bound.u64(counter);
  bound.u8(static_cast<std::uint8_t>(accepting_ != theirs ? 1 : 2));  // who says it
  return keyed_hash(key_, bound.bytes() + std::string(payload));
}

bool Connection::next(std::string& payload) {
  if (!ready_ && !greeting()) return false;
  std::uint32_t length = 0;
  if (in_.size() < sizeof length) return false;
  std::memcpy(&length, in_.data(), sizeof length);
  if (length > (proved() ? kMaxPayload : kMaxFirst))
    throw CommError("a message of " + std::to_string(length) + " bytes is too long");
  if (in_.size() < sizeof length + length + sizeof(Key)) return false;
  const std::string_view body = std::string_view(in_).substr(sizeof length, length);
  if (!same(key_of(std::string_view(in_).substr(sizeof length + length)), tag(true, received_, body)))
    throw CommError("a message does not prove that its sender belongs to this job");
  payload = body;
  in_.erase(0, sizeof length + length + sizeof(Key));
  ++received_;
  return true;
}

bool Connection::send(std::string_view payload) {
  if (!ready_ || payload.size() > kMaxPayload || out_.size() > kMaxQueue) return false;
  const auto length = static_cast<std::uint32_t>(payload.size());
  out_.append(reinterpret_cast<const char*>(&length), sizeof length);
  out_.append(payload);
  out_.append(view(tag(false, sent_++, payload)));
  return true;
}

bool Connection::flush() {
  while (!out_.empty()) {
    const ssize_t put = ::send(socket_.fd(), out_.data(), out_.size(), MSG_DONTWAIT | MSG_NOSIGNAL);
    if (put > 0) {
      out_.erase(0, static_cast<std::size_t>(put));
      continue;
    }
    if (put < 0 && errno == EINTR) continue;
    if (put < 0 && (errno == EAGAIN || errno == EWOULDBLOCK)) return true;
    why_ = std::string("its connection broke: ") + std::strerror(errno);
    return false;
  }
  return true;
}

void Connection::end_of_sending() { ::shutdown(socket_.fd(), SHUT_WR); }

}  // namespace tradewind::runtime::wire
