// Authenticated messages over TCP for the side channel.
//
// Both ends know the job's secret. The accepting end greets with 16 random bytes, the connecting end answers with 16 of its
// own; the session's key is the keyed hash of both under the secret. Every message is
//     length (4 bytes), payload, tag (16 bytes) = keyed hash of counter, direction and payload under the session's key
// and its tag is compared in constant time before the payload is looked at, so a stranger's bytes, a replay and a changed
// message all end the connection. The keyed hash is SipHash-2-4 with 128 bits (Aumasson and Bernstein, INDOCRYPT 2012). Nothing
// is encrypted.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <utility>

namespace tradewind::runtime::wire {

using Key = std::array<std::uint8_t, 16>;

/// Random bytes of the system.
Key random_key();
/// SipHash-2-4, 128 bits.
Key keyed_hash(const Key& key, std::string_view bytes);

/// A file descriptor that is closed with it.
class Socket {
 public:
  explicit Socket(int fd = -1) : fd_(fd) {}
  Socket(Socket&& other) noexcept : fd_(std::exchange(other.fd_, -1)) {}
  Socket& operator=(Socket&& other) noexcept {
    std::swap(fd_, other.fd_);
    return *this;
  }
  ~Socket();
  int fd() const { return fd_; }
  explicit operator bool() const { return fd_ >= 0; }

 private:
  int fd_;
};

/// Bytes of a message, little-endian.
class Writer {
 public:
  void u8(std::uint8_t value) { put(&value, sizeof value); }
  void i64(std::int64_t value) { put(&value, sizeof value); }
  void u64(std::uint64_t value) { put(&value, sizeof value); }
  void text(std::string_view value);
  const std::string& bytes() const { return bytes_; }

 private:
  void put(const void* value, std::size_t size) { bytes_.append(static_cast<const char*>(value), size); }
  std::string bytes_;
};

/// Reads what Writer wrote; throws CommError past the end.
class Reader {
 public:
  explicit Reader(std::string_view bytes) : bytes_(bytes) {}
  std::uint8_t u8() { return get<std::uint8_t>(); }
  std::int64_t i64() { return get<std::int64_t>(); }
  std::uint64_t u64() { return get<std::uint64_t>(); }
  std::string text();

 private:
  template <class T>
  T get() {
    T value;
    take(&value, sizeof value);
    return value;
  }
  void take(void* to, std::size_t size);
  std::string_view bytes_;
};

/// One end of a connection; the socket must be non-blocking. No call blocks.
class Connection {
 public:
  static constexpr std::size_t kMaxPayload = 64 << 10;  // of a message
  static constexpr std::size_t kMaxFirst = 1 << 10;     // of the first one, whose sender has proved nothing yet
  static constexpr std::size_t kMaxQueue = 256 << 10;   // bytes waiting for an end that does not read

  Connection(Socket socket, const Key& secret, bool accepting);

  int fd() const { return socket_.fd(); }
  /// Both greetings were exchanged: messages may be sent.
  bool ready() const { return ready_; }
  /// A message with a valid tag has come.
  bool proved() const { return received_ > 0; }
  bool wants_to_write() const { return !out_.empty(); }

  /// Takes what has come. False where the other end has closed or the connection broke: why() says it; messages that came
  /// before are still there.
  bool receive();
  /// The next whole message. False where there is none yet. Throws CommError at a wrong greeting, length or tag.
  bool next(std::string& payload);
  /// Queues a message. False where the other end does not read and the queue is full.
  bool send(std::string_view payload);
  /// Writes what the socket takes. False where the connection broke.
  bool flush();
  /// Nothing more will be sent; the other end then reads the end of the stream.
  void end_of_sending();
  const std::string& why() const { return why_; }

 private:
  bool greeting();
  Key tag(bool theirs, std::uint64_t counter, std::string_view payload) const;

  Socket socket_;
  Key secret_, nonce_, key_{};
  bool accepting_, ready_ = false;
  std::string in_, out_, why_;
  std::uint64_t sent_ = 0, received_ = 0;
};

}  // namespace tradewind::runtime::wire
