#include "runtime/data/byte_stream.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <lzma.h>
#include <unistd.h>
#include <xxhash.h>
#include <zlib.h>
#include <zstd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>
#include <limits>
#include <string_view>
#include <vector>

#include "kernels/base/error.h"

namespace tradewind::runtime {

void check_text_beginning(const std::string& name, std::string_view head, const std::string& key) {
  if (head.empty()) throw DataError(fmt::format("{} is empty. Point {} at a file with text in it", name, key));
  const std::string_view mark = head.substr(0, 2);
  if (mark == "\xFF\xFE" || mark == "\xFE\xFF")
    throw DataError(fmt::format("{} is UTF-16. Convert it: iconv -f UTF-16 -t UTF-8 {} > FILE", name, name));
}

constexpr std::size_t kInputBytes = std::size_t{256} << 10;

/// A file descriptor with a buffer: unread input is [at, at + left).
class ByteStream::Source {
 public:
  Source(std::string file_name, int descriptor) : name(std::move(file_name)), descriptor_(descriptor), buffer_(kInputBytes) {}
  ~Source() { ::close(descriptor_); }
  Source(const Source&) = delete;
  Source& operator=(const Source&) = delete;

  /// Reads on when the buffer is empty. False at the end of the file.
  bool fill() {
    if (left > 0) return true;
    left = read_some(buffer_);
    at = buffer_.data();
    return left > 0;
  }
  void skip(std::size_t bytes) { at += bytes, left -= bytes; }

  std::size_t read_some(std::span<char> out) {
    for (;;) {
      const ssize_t got = ::read(descriptor_, out.data(), out.size());
      if (got >= 0) return static_cast<std::size_t>(got);
      if (errno != EINTR) throw DataError(fmt::format("{}: reading failed: {}", name, std::strerror(errno)));
    }
  }

  const std::string name;
  const char* at = nullptr;
  std::size_t left = 0;

 private:
  int descriptor_;
  std::vector<char> buffer_;
};

struct ByteStream::Hash {
  Hash() : state(XXH3_createState()) { XXH3_64bits_reset(state); }
  ~Hash() { XXH3_freeState(state); }
  Hash(const Hash&) = delete;
  Hash& operator=(const Hash&) = delete;
  XXH3_state_t* state;
};

ByteStream::~ByteStream() = default;

class PlainStream final : public ByteStream {
 public:
  explicit PlainStream(std::unique_ptr<Source> from) : ByteStream(std::move(from)) {}
  std::string compression() const override { return ""; }

 private:
  std::size_t produce(std::span<char> out) override {
    if (!source().fill()) return 0;
    const std::size_t count = std::min(out.size(), source().left);
    std::memcpy(out.data(), source().at, count);
    source().skip(count);
    return count;
  }
};

class GzipStream final : public ByteStream {
 public:
  explicit GzipStream(std::unique_ptr<Source> from) : ByteStream(std::move(from)) {
    if (inflateInit2(&z_, 15 + 16) != Z_OK) fail("zlib has no memory");
  }
  ~GzipStream() override { inflateEnd(&z_); }
  std::string compression() const override { return "gzip"; }

 private:
  std::size_t produce(std::span<char> out) override {
    for (;;) {
      const bool more = source().fill();
      if (!more) {
        if (member_) fail("the gzip archive is truncated");
        return 0;
      }
      if (!member_ && inflateReset(&z_) != Z_OK) fail("zlib cannot start a gzip member");
      member_ = true;
      z_.next_in = reinterpret_cast<Bytef*>(const_cast<char*>(source().at));
      z_.avail_in = static_cast<uInt>(source().left);
      z_.next_out = reinterpret_cast<Bytef*>(out.data());
      z_.avail_out = static_cast<uInt>(std::min<std::size_t>(out.size(), std::numeric_limits<uInt>::max()));
      const uInt room = z_.avail_out;
      const int status = inflate(&z_, Z_NO_FLUSH);
      source().skip(source().left - z_.avail_in);
      if (status == Z_STREAM_END)
        member_ = false;
      else if (status != Z_OK && status != Z_BUF_ERROR)
        fail(fmt::format("the gzip archive is corrupt ({})",
                         z_.msg != nullptr ? z_.msg : "zlib error " + std::to_string(status)));
      if (z_.avail_out < room) return room - z_.avail_out;
    }
  }

  z_stream z_{};
  bool member_ = false;  // inside a member
};

class ZstdStream final : public ByteStream {
 public:
  explicit ZstdStream(std::unique_ptr<Source> from) : ByteStream(std::move(from)), context_(ZSTD_createDCtx()) {
    if (context_ == nullptr) fail("zstd has no memory");
    ZSTD_DCtx_setParameter(context_.get(), ZSTD_d_windowLogMax, 31);  // zstd --long=31
  }
  std::string compression() const override { return "zstd"; }

 private:
  struct Free {
    void operator()(ZSTD_DCtx* context) const { ZSTD_freeDCtx(context); }
  };

  std::size_t produce(std::span<char> out) override {
    for (;;) {
      // The library may still hold output of earlier input, so it is asked once more when the file has ended.
      const bool more = source().fill();
      if (!more && wanted_ == 0) return 0;
      ZSTD_inBuffer input{source().at, more ? source().left : 0, 0};
      ZSTD_outBuffer output{out.data(), out.size(), 0};
      wanted_ = ZSTD_decompressStream(context_.get(), &output, &input);
      if (ZSTD_isError(wanted_) != 0U) fail(fmt::format("the zstd archive is corrupt ({})", ZSTD_getErrorName(wanted_)));
      source().skip(input.pos);
      if (output.pos > 0) return output.pos;
      if (!more) fail("the zstd archive is truncated");
    }
  }

  std::unique_ptr<ZSTD_DCtx, Free> context_;
  std::size_t wanted_ = 0;  // 0: between frames
};

class XzStream final : public ByteStream {
 public:
  explicit XzStream(std::unique_ptr<Source> from) : ByteStream(std::move(from)) {
    if (lzma_stream_decoder(&stream_, UINT64_MAX, LZMA_CONCATENATED) != LZMA_OK) fail("xz has no memory");
  }
  ~XzStream() override { lzma_end(&stream_); }
  std::string compression() const override { return "xz"; }

 private:
  std::size_t produce(std::span<char> out) override {
    stream_.next_out = reinterpret_cast<std::uint8_t*>(out.data());
    stream_.avail_out = out.size();
    while (!done_) {
      const bool more = source().fill();
      stream_.next_in = reinterpret_cast<const std::uint8_t*>(source().at);
      stream_.avail_in = more ? source().left : 0;
      const lzma_ret status = lzma_code(&stream_, more ? LZMA_RUN : LZMA_FINISH);
      if (more) source().skip(source().left - stream_.avail_in);
      if (status == LZMA_STREAM_END)
        done_ = true;
      else if (status == LZMA_BUF_ERROR)
        fail("the xz archive is truncated");
      else if (status != LZMA_OK)
        fail(fmt::format("the xz archive is corrupt (liblzma error {})", static_cast<int>(status)));
      if (stream_.avail_out < out.size()) break;
    }
    return out.size() - stream_.avail_out;
  }

  lzma_stream stream_ = LZMA_STREAM_INIT;
  bool done_ = false;
};

std::unique_ptr<ByteStream> ByteStream::open(const std::filesystem::path& file, const std::string& key) {
  std::error_code ignored;
  if (std::filesystem::is_directory(file, ignored))
    throw DataError(fmt::format("{} = \"{}\" is a folder; name a file in it", key, file.string()));
  const int descriptor = ::open(file.c_str(), O_RDONLY | O_CLOEXEC);
  if (descriptor < 0) {
    const std::string why = std::strerror(errno);
    throw DataError(fmt::format("{} = \"{}\" cannot be opened: {} (working directory {}). {}", key, file.string(), why,
                                std::filesystem::current_path(ignored).string(),
                                key.starts_with("--")
                                    ? "Give the name of a file that is there"
                                    : fmt::format("Set it to a file that is there, e.g. --set {}=FILE", key)));
  }
  auto source = std::make_unique<Source>(file.string(), descriptor);
  // A pipe may hand over less than a magic number at once; a file on disk does not.
  const std::string_view head = source->fill() ? std::string_view(source->at, source->left) : std::string_view();
  const auto starts = [&](std::string_view magic) { return head.substr(0, magic.size()) == magic; };
  if (starts("\x1F\x8B")) return std::make_unique<GzipStream>(std::move(source));
  if (starts("\x28\xB5\x2F\xFD")) return std::make_unique<ZstdStream>(std::move(source));
  if (starts(std::string_view("\xFD"
                              "7zXZ\0",
                              6)))
    return std::make_unique<XzStream>(std::move(source));
  return std::make_unique<PlainStream>(std::move(source));
}

ByteStream::ByteStream(std::unique_ptr<Source> from)
    : source_(std::move(from)), hash_(std::make_unique<Hash>()), name_(source_->name) {}

std::size_t ByteStream::read(std::span<char> out) {
  std::size_t filled = 0;
  while (filled < out.size()) {
    const std::size_t got = produce(out.subspan(filled));
    if (got == 0) break;
    filled += got;
  }
  XXH3_64bits_update(hash_->state, out.data(), filled);
  return filled;
}

std::uint64_t ByteStream::checksum() const { return XXH3_64bits_digest(hash_->state); }

void ByteStream::fail(const std::string& what) const {
  throw DataError(fmt::format("{}: {}. Fetch or write the file again", name_, what));
}

}  // namespace tradewind::runtime
