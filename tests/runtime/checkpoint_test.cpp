#include "runtime/checkpoint/checkpoint.h"

#include <fmt/format.h>
#include <sys/mount.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cmath>
#include <csignal>
#include <cstdio>
#include <cstring>
#include <limits>
#include <random>

#include "kernels/base/error.h"
#include "runtime/checkpoint/manifest.h"
#include "runtime/checkpoint/safetensors.h"
#include "tests/support/oracle.h"
#include "tests/support/safetensors.h"
#include "tests/support/temporary_folder.h"
#include "tests/support/throws.h"

namespace tradewind::tests {
namespace {

namespace fs = std::filesystem;
using kernels::DType;
using runtime::Checkpoint;
using runtime::CheckpointContents;
using runtime::CheckpointWriter;
using runtime::host_allocator;
using runtime::Shape;
using runtime::Tensor;

// Random bits, NaN payloads included: a checkpoint must bring back every one.
Tensor random_bits(const Shape& shape, DType dtype, std::uint32_t seed) {
  Tensor out(host_allocator(), shape, dtype);
  std::mt19937 engine(seed);
  for (std::size_t i = 0; i < out.bytes(); ++i)
    static_cast<unsigned char*>(out.raw())[i] = static_cast<unsigned char>(engine());
  return out;
}

CheckpointContents contents_of(std::int64_t step, std::int64_t rows = 5) {
  CheckpointContents out{
      .step = step, .tensors = {}, .state = {{"step_again", step}, {"loss", 0.1 * static_cast<double>(step)}}};
  const auto seed = static_cast<std::uint32_t>(step * 10);
  const auto add = [&](const char* name, const Shape& shape, DType dtype, std::uint32_t offset) {
    out.tensors.push_back({.name = name, .data = random_bits(shape, dtype, seed + offset), .global_shape = shape});
  };
  add("blocks.0.weight", {rows, 7}, DType::kFloat32, 0);
  add("optimizer.m.blocks.0.weight", {rows, 7}, DType::kFloat32, 1);
  add("counts", {3}, DType::kInt64, 2);
  add("half", {2, 1, 3}, DType::kBFloat16, 3);
  add("bytes", {5}, DType::kUInt8, 4);
  add("scalar", {}, DType::kFloat64, 5);
  add("empty", {0, 4}, DType::kFloat32, 6);
  return out;
}

void check_equal(const Checkpoint& checkpoint, const CheckpointContents& expected) {
  BOOST_TEST(checkpoint.step() == expected.step);
  BOOST_TEST((checkpoint.state() == expected.state));
  BOOST_TEST(checkpoint.names().size() == expected.tensors.size());
  for (const auto& t : expected.tensors) {
    BOOST_TEST_CONTEXT(t.name) {
      BOOST_REQUIRE(checkpoint.contains(t.name));
      BOOST_TEST((checkpoint.shape(t.name) == t.global_shape));
      std::vector<char> got(t.data.bytes() + 1);
      checkpoint.read(t.name, 0, t.data.elements(), t.data.dtype(), got.data());
      BOOST_TEST(std::memcmp(got.data(), t.data.raw(), t.data.bytes()) == 0);
    }
  }
}

std::string text_of(const fs::path& path) { return runtime::InputFile(path).read_all(); }
// In place: to cut and rewrite a file makes some file systems sync it, a thousand times over.
void put_byte(const fs::path& path, std::size_t at, char byte) {
  std::fstream file(path, std::ios::binary | std::ios::in | std::ios::out);
  file.seekp(static_cast<std::streamoff>(at)).put(byte);
}
void put_text(const fs::path& path, std::string_view text) { std::ofstream(path, std::ios::binary) << text; }

std::vector<fs::path> files_of(const fs::path& directory) {
  std::vector<fs::path> out;
  for (const auto& entry : fs::directory_iterator(directory)) out.push_back(entry.path());
  std::ranges::sort(out);
  return out;
}

std::vector<std::string> names_in(const fs::path& directory) {
  std::vector<std::string> out;
  for (const auto& path : files_of(directory)) out.push_back(path.filename());
  return out;
}

bool opens(const fs::path& directory) {
  try {
    Checkpoint::open(directory);
    return true;
  } catch (const CheckpointError&) {
    return false;
  }
}

// The step of the newest that verifies; -1 where none does. Counts what was passed over.
std::int64_t newest(const fs::path& parent, int* warnings = nullptr) {
  int count = 0;
  const auto found = runtime::open_newest_checkpoint(parent, [&](const std::string&) { ++count; });
  if (warnings != nullptr) *warnings = count;
  return found ? found->step() : -1;
}

// A parent with good checkpoints of steps 10 and 20.
struct Two {
  TemporaryFolder folder;
  fs::path parent = folder.path() / "run" / "checkpoints", old = parent / "step-00000010", young = parent / "step-00000020";
  Two() {
    runtime::write_checkpoint(parent, contents_of(10));
    runtime::write_checkpoint(parent, contents_of(20));
  }
};

// Files of this process cannot grow past `bytes` while this lives: a full disk that needs no privilege.
class SmallDisk {
 public:
  explicit SmallDisk(rlim_t bytes) : handler_(std::signal(SIGXFSZ, SIG_IGN)) {
    getrlimit(RLIMIT_FSIZE, &before_);
    rlimit now = before_;
    now.rlim_cur = bytes;
    BOOST_REQUIRE(setrlimit(RLIMIT_FSIZE, &now) == 0);
  }
  ~SmallDisk() {
    setrlimit(RLIMIT_FSIZE, &before_);
    std::signal(SIGXFSZ, handler_);
  }

 private:
  void (*handler_)(int);
  rlimit before_{};
};

}  // namespace

BOOST_AUTO_TEST_CASE(every_bit_comes_back) {
  const TemporaryFolder folder;
  auto contents = contents_of(120);
  constexpr double kInfinity = std::numeric_limits<double>::infinity();
  std::mt19937_64 engine(3);
  auto& doubles = contents.state["doubles"] = {0.1, -0.0, 1.0, 5e-324, 1.7976931348623157e308, kInfinity, -kInfinity};
  while (doubles.size() < 2000) {
    double x = 0;
    const std::uint64_t bits = engine();
    std::memcpy(&x, &bits, sizeof x);
    if (!std::isnan(x)) doubles.push_back(x);
  }
  contents.state["big"] = std::numeric_limits<std::uint64_t>::max();
  contents.state["nested"] = {{"text", "größe \n \"x\" 中文"}, {"none", nullptr}, {"list", {1, {{"a", true}}}}};
  runtime::write_checkpoint(folder.path(), contents);
  BOOST_TEST((names_in(folder.path()) == std::vector<std::string>{"step-00000120"}));
  const auto checkpoint = Checkpoint::open(folder.path() / "step-00000120");
  check_equal(checkpoint, contents);
  for (std::size_t i = 0; i < doubles.size(); ++i) {
    const auto got = checkpoint.state()["doubles"][i].get<double>(), expected = doubles[i].get<double>();
    BOOST_REQUIRE(std::memcmp(&got, &expected, sizeof got) == 0);
  }

  auto with_nan = contents_of(121);
  with_nan.state["loss"] = std::numeric_limits<double>::quiet_NaN();  // of a skipped step
  runtime::write_checkpoint(folder.path(), with_nan);
  BOOST_TEST(std::isnan(Checkpoint::open(folder.path() / "step-00000121").state()["loss"].get<double>()));
}

BOOST_AUTO_TEST_CASE(any_part_of_a_tensor_can_be_read_from_any_slices) {
  const TemporaryFolder folder;
  const Tensor whole = random_bits({6, 5}, DType::kFloat32, 1);
  CheckpointContents contents{.step = 1, .tensors = {}, .state = {}};
  for (const auto& [begin, count] : std::vector<std::pair<std::int64_t, std::int64_t>>{{17, 13}, {0, 4}, {4, 0}, {4, 13}})
    contents.tensors.push_back({.name = "w", .data = whole.view(begin, {count}), .global_shape = {6, 5}, .begin = begin});
  runtime::write_checkpoint(folder.path(), contents);
  const auto checkpoint = Checkpoint::open(folder.path() / "step-00000001");
  BOOST_TEST((checkpoint.names() == std::vector<std::string>{"w"}));
  BOOST_TEST((checkpoint.shape("w") == Shape{6, 5}));
  for (std::int64_t begin = 0; begin <= 30; ++begin)
    for (std::int64_t count = 0; count <= 30 - begin; ++count) {
      std::vector<float> got(static_cast<std::size_t>(count) + 1);
      checkpoint.read("w", begin, count, DType::kFloat32, got.data());
      BOOST_REQUIRE(std::memcmp(got.data(), whole.data<float>() + begin, static_cast<std::size_t>(count) * 4) == 0);
      BOOST_REQUIRE(got.back() == 0);
    }
  float got[30];
  const auto refuse = [&](const char* name, std::int64_t begin, std::int64_t count, DType dtype,
                          const std::string& part_of_message) {
    check_throws<CheckpointError>([&] { checkpoint.read(name, begin, count, dtype, got); }, {name, part_of_message});
  };
  refuse("w", 29, 2, DType::kFloat32, "has 30 elements");
  refuse("w", -1, 1, DType::kFloat32, "has 30 elements");
  refuse("w", 4, 1, DType::kInt64, "holds float32, not int64");
  refuse("absent", 0, 1, DType::kFloat32, "no tensor");

  contents.tensors.push_back({.name = "w", .data = whole.view(3, {2}), .global_shape = {6, 5}, .begin = 3});
  contents.step = 2;
  const auto refused = [&](const char* says) {
    check_throws<CheckpointError>([&] { runtime::write_checkpoint(folder.path(), contents); }, {"step 2", says});
  };
  refused("\"w\" overlap at element 3");
  contents.tensors.pop_back();
  contents.tensors.push_back({.name = "partial", .data = random_bits({3}, DType::kInt64, 2), .global_shape = {10}, .begin = 0});
  refused("\"partial\" has its element 3");
  contents.tensors.push_back({.name = "partial", .data = whole.view(0, {7}), .global_shape = {10}, .begin = 3});
  refused("another type than its fellows");
  contents.tensors.back() = {.name = "partial", .data = random_bits({7}, DType::kInt64, 2), .global_shape = {2, 5}, .begin = 3};
  refused("another shape than its fellows");
  BOOST_TEST((names_in(folder.path()) == std::vector<std::string>{"step-00000001"}));
}

BOOST_AUTO_TEST_CASE(every_flipped_byte_is_noticed_and_the_checkpoint_before_is_used) {
  const Two two;
  std::vector<std::string> originals;
  std::size_t bytes = 0;
  const auto files = files_of(two.young);
  BOOST_REQUIRE(files.size() == 3);
  for (const auto& file : files) bytes += originals.emplace_back(text_of(file)).size();
  std::mt19937 engine(7);
  const auto flip = [&](std::size_t f, std::size_t at, char mask) {
    put_byte(files[f], at, static_cast<char>(originals[f][at] ^ mask));
    int warnings = 0;
    const bool noticed = !opens(two.young) && newest(two.parent, &warnings) == 10 && warnings == 1;
    put_byte(files[f], at, originals[f][at]);
    BOOST_REQUIRE_MESSAGE(noticed, files[f] << " byte " << at << " xor " << int(mask));
  };
  for (int i = 0; i < 10'000; ++i) {
    std::size_t at = engine() % bytes, f = 0;
    while (at >= originals[f].size()) at -= originals[f++].size();
    flip(f, at, static_cast<char>(1 + engine() % 255));
  }
  // The manifest vouches for the others: each of its bytes, and case and blanks, which JSON would not mind.
  for (std::size_t f = 0; f < files.size(); ++f)
    if (files[f].filename() == "manifest.json")
      for (std::size_t at = 0; at < originals[f].size(); ++at)
        for (const char mask : {1, 0x20, 0x40}) flip(f, at, mask);
  BOOST_TEST(newest(two.parent) == 20);
}

BOOST_AUTO_TEST_CASE(truncated_grown_missing_and_swapped_files_are_noticed) {
  const Two two;
  for (const auto& file : files_of(two.young)) {
    const std::string original = text_of(file);
    for (std::size_t length = original.size(); length-- > 0;) {  // every length, each cut from the one before
      fs::resize_file(file, length);
      BOOST_REQUIRE_MESSAGE(newest(two.parent) == 10, file << " cut to " << length);
    }
    for (const char* tail : {" ", "\n", "\0"}) {
      put_text(file, original + std::string(tail, 1));
      BOOST_REQUIRE_MESSAGE(newest(two.parent) == 10, file << " with a tail");
    }
    put_text(file, text_of(two.old / file.filename()));  // a whole file, but another checkpoint's
    const bool whole_manifest = file.filename() == "manifest.json";
    BOOST_TEST(!opens(two.young));
    fs::remove(file);
    int warnings = 0;
    BOOST_TEST(newest(two.parent, &warnings) == 10);
    BOOST_TEST(warnings == (whole_manifest ? 0 : 1));  // without a manifest it was never one
    check_throws<CheckpointError>([&] { Checkpoint::open(two.young); },
                                  {two.young.string(), file.filename().string(), whole_manifest ? "finished" : "remove"});
    put_text(file, original);
    BOOST_TEST(newest(two.parent) == 20);
  }
  check_throws<CheckpointError>([&] { Checkpoint::open(two.parent / "step-00000099"); },
                                {"step-00000099", "no such directory"});
}

BOOST_AUTO_TEST_CASE(nothing_there_is_no_error_but_nothing_that_verifies_is) {
  const TemporaryFolder folder;
  BOOST_TEST(newest(folder.path()) == -1);
  BOOST_TEST(newest(folder.path() / "absent") == -1);
  const Two two;
  for (const auto& directory : {two.old, two.young}) fs::resize_file(directory / "state.json", 3);
  check_throws<CheckpointError>([&] { newest(two.parent); },
                                {"none of the 2", two.parent.string(), "state.json", "start anew"});
}

BOOST_AUTO_TEST_CASE(a_newer_format_is_refused_and_not_gone_behind) {
  const Two two;
  std::string text = text_of(two.young / "manifest.json");
  const std::string version = "\"format_version\": 2";
  BOOST_REQUIRE(text.find(version) != std::string::npos);
  text.replace(text.find(version), version.size(), "\"format_version\": 3");
  const std::size_t line = text.find('\n') + 1, checksum = text.find(": \"") + 3;
  text.replace(checksum, 16, runtime::checksum_of(std::string_view(text).substr(line)));
  put_text(two.young / "manifest.json", text);
  const std::vector<std::string> says = {two.young.string(), "format version 3", "up to version 2",
                                         "newer version of Tradewind"};
  check_throws<CheckpointError>([&] { Checkpoint::open(two.young); }, says);
  check_throws<CheckpointError>([&] { newest(two.parent); }, says);
}

BOOST_AUTO_TEST_CASE(the_first_format_stays_readable) {
  const auto checkpoint = Checkpoint::open(golden_path("checkpoint-v1/step-00000007"));
  BOOST_TEST(checkpoint.step() == 7);
  BOOST_TEST(checkpoint.state()["loss"].get<double>() == 0.1);
  BOOST_TEST(std::isinf(checkpoint.state()["best"].get<double>()));
  BOOST_TEST((checkpoint.names() == std::vector<std::string>{"layer.bias", "layer.weight"}));
  BOOST_TEST((checkpoint.shape("layer.weight") == Shape{2, 3}));
  std::vector<float> weight(6);
  checkpoint.read("layer.weight", 0, 6, DType::kFloat32, weight.data());
  BOOST_TEST((weight == std::vector<float>{0, 0.5F, 1, 1.5F, 2, 2.5F}));
  std::vector<std::int64_t> bias(4);
  checkpoint.read("layer.bias", 0, 4, DType::kInt64, bias.data());
  BOOST_TEST((bias == std::vector<std::int64_t>{-1, 2, -3, 4}));
}

BOOST_AUTO_TEST_CASE(a_full_disk_leaves_the_last_good_checkpoint) {
  const Two two;
  const auto before = names_in(two.parent);
  for (const rlim_t bytes : {0, 1, 100, 5000, 100000}) {
    const SmallDisk disk(bytes);
    check_throws<CheckpointError>([&] { runtime::write_checkpoint(two.parent, contents_of(30, 5000)); },
                                  {"step 30", "bytes needed", "File too large", "bytes are free", "make room"});
  }
  BOOST_TEST((names_in(two.parent) == before));
  check_equal(*runtime::open_newest_checkpoint(two.parent, nullptr), contents_of(20));
  check_throws<CheckpointError>([&] { runtime::require_free_space(two.parent, std::uint64_t{1} << 62); },
                                {"4611686018427387904 bytes are needed", "are free"});
}

BOOST_AUTO_TEST_CASE(a_full_file_system_leaves_the_last_good_checkpoint) {
  const TemporaryFolder folder;
  const std::string at = folder.path() / "small";
  fs::create_directory(at);
  if (::mount("tmpfs", at.c_str(), "tmpfs", 0, "size=256k") != 0) {
    std::printf("SKIPPED a_full_file_system_leaves_the_last_good_checkpoint: cannot mount a tmpfs (%s)\n",
                std::strerror(errno));
    return;
  }
  runtime::write_checkpoint(at, contents_of(1));
  check_throws<CheckpointError>([&] { runtime::write_checkpoint(at, contents_of(2, 50000)); },
                                {"step 2", "bytes are needed", "are free", "make room"});
  BOOST_TEST(newest(at) == 1);
  {
    runtime::DurableFile file(fs::path(at) / "filler");
    const std::vector<char> much(1 << 20);
    check_throws<CheckpointError>([&] { file.write(much.data(), much.size()); },
                                  {"filler", "No space left", "0 bytes are free"});
  }
  fs::remove(fs::path(at) / "filler");
  runtime::write_checkpoint(at, contents_of(3));
  BOOST_TEST(newest(at) == 3);
  ::umount(at.c_str());
}

BOOST_AUTO_TEST_CASE(a_writer_killed_at_any_moment_leaves_whole_checkpoints) {
  const TemporaryFolder folder;
  const fs::path parent = folder.path() / "checkpoints";
  std::mt19937 engine(11);
  std::int64_t last = 0;
  for (int round = 0; round < 20; ++round) {
    int started[2];
    BOOST_REQUIRE(::pipe(started) == 0);
    const pid_t child = fork();
    BOOST_REQUIRE(child >= 0);
    if (child == 0) {
      CheckpointWriter writer(parent, 2);
      for (std::int64_t step = last + 1;; ++step) {
        writer.save(contents_of(step, 2000));
        if (step == last + 2 && ::write(started[1], "x", 1) != 1) ::_exit(1);  // one has been written
      }
    }
    char byte = 0;
    BOOST_REQUIRE(::read(started[0], &byte, 1) == 1);
    ::close(started[0]);
    ::close(started[1]);
    usleep(engine() % 40000);
    ::kill(child, SIGKILL);
    ::waitpid(child, nullptr, 0);
    int warnings = 0;
    const auto found = runtime::open_newest_checkpoint(parent, [&](const std::string&) { ++warnings; });
    BOOST_TEST(warnings == 0);
    BOOST_REQUIRE(found.has_value());
    BOOST_TEST(found->step() > last);
    last = found->step();
    check_equal(*found, contents_of(last, 2000));
  }
  CheckpointWriter writer(parent, 1);
  writer.save(contents_of(last + 1));
  writer.wait();
  BOOST_TEST(names_in(parent).size() == 1U);  // what the killed ones left unfinished is gone
}

BOOST_AUTO_TEST_CASE(the_newest_and_the_pinned_stay) {
  const TemporaryFolder folder;
  CheckpointWriter writer(folder.path(), 2);
  const auto save = [&](std::int64_t step) {
    writer.save(contents_of(step));
    writer.wait();
  };
  const auto names = [&] { return names_in(folder.path()); };
  using Names = std::vector<std::string>;
  save(1);
  writer.pin(1);
  save(2);
  save(3);
  save(4);
  BOOST_TEST((names() == Names{"step-00000001", "step-00000003", "step-00000004"}));
  writer.pin(4);  // replaces the pin before it
  save(5);
  BOOST_TEST((names() == Names{"step-00000004", "step-00000005"}));
  save(6);
  save(7);
  BOOST_TEST((names() == Names{"step-00000004", "step-00000006", "step-00000007"}));
  check_equal(Checkpoint::open(folder.path() / "step-00000004"), contents_of(4));
  // A damaged one of a later step must not crowd out the good ones.
  fs::create_directory(folder.path() / "step-00000099");
  put_text(folder.path() / "step-00000099" / "manifest.json", "{}");
  save(8);
  BOOST_TEST((names() == Names{"step-00000004", "step-00000007", "step-00000008", "step-00000099"}));
  BOOST_TEST(newest(folder.path()) == 8);
}

BOOST_AUTO_TEST_CASE(saves_in_a_row_and_of_one_step_take_what_was_there_at_the_call) {
  const TemporaryFolder folder;
  CheckpointWriter writer(folder.path(), 3);
  auto first = contents_of(1);
  const auto kept = contents_of(1);
  writer.save(first);
  for (auto& t : first.tensors) std::memset(t.data.raw(), 0, t.data.bytes());  // training goes on
  writer.save(contents_of(2, 9));                                              // larger: another copy
  writer.save(contents_of(3));
  writer.wait();
  check_equal(Checkpoint::open(folder.path() / "step-00000001"), kept);
  check_equal(Checkpoint::open(folder.path() / "step-00000002"), contents_of(2, 9));
  const auto open_before = Checkpoint::open(folder.path() / "step-00000003");
  auto again = contents_of(3, 8);
  writer.save(again);
  writer.wait();
  check_equal(Checkpoint::open(folder.path() / "step-00000003"), again);
  check_equal(open_before, contents_of(3));  // what was opened stays what it was
  BOOST_TEST(names_in(folder.path()).size() == 3U);
}

BOOST_AUTO_TEST_CASE(a_failure_in_the_background_is_thrown_by_the_next_call) {
  const TemporaryFolder folder;
  const fs::path parent = folder.path() / "checkpoints";
  CheckpointWriter writer(parent, 2);
  writer.save(contents_of(1));
  writer.wait();
  {
    const SmallDisk disk(1000);
    writer.save(contents_of(2, 5000));
    check_throws<CheckpointError>([&] { writer.wait(); }, {"step 2", "bytes needed"});
    writer.save(contents_of(2, 5000));
    check_throws<CheckpointError>([&] { writer.save(contents_of(3)); }, {"step 2"});
  }
  BOOST_TEST(newest(parent) == 1);
  writer.save(contents_of(3));  // the disk has room again
  writer.wait();
  BOOST_TEST(newest(parent) == 3);

  const TemporaryFolder other;
  other.write("a_file", "x");
  CheckpointWriter blocked(other.path() / "a_file" / "checkpoints", 1);
  blocked.save(contents_of(1));
  check_throws<CheckpointError>([&] { blocked.wait(); }, {"a_file"});
}

BOOST_AUTO_TEST_CASE(bad_contents_are_our_own_fault) {
  const TemporaryFolder folder;
  const auto refuse = [&](const CheckpointContents& contents) {
    BOOST_CHECK_THROW(runtime::write_checkpoint(folder.path(), contents), InternalError);
  };
  const Tensor data = random_bits({4}, DType::kFloat32, 1);
  refuse({.step = -1, .tensors = {}, .state = {}});
  refuse({.step = 1, .tensors = {{.name = "x", .data = {}, .global_shape = {4}}}, .state = {}});
  refuse({.step = 1, .tensors = {{.name = "x", .data = data, .global_shape = {3}}}, .state = {}});
  refuse({.step = 1, .tensors = {{.name = "x", .data = data, .global_shape = {6}, .begin = 3}}, .state = {}});
  refuse({.step = 1, .tensors = {}, .state = {{"a", {{"$number", "nan"}}}}});
  refuse({.step = 1,
          .tensors = {{.name = "x", .data = data, .global_shape = {4}}, {.name = "x", .data = data, .global_shape = {4}}},
          .state = {}});
  check_throws<CheckpointError>([&] { runtime::write_checkpoint(folder.path(), {.step = 1, .tensors = {}, .state = "\xff"}); },
                                {"not UTF-8"});
  BOOST_CHECK_THROW(CheckpointWriter(folder.path(), 0), InternalError);
}

BOOST_AUTO_TEST_CASE(safetensors_of_others_are_read) {
  for (const char* name : {"optim/adamw.safetensors", "optim/problem.safetensors"}) {
    const auto file = runtime::SafetensorsFile::open(golden_path(name));
    const GoldenTensors golden(golden_path(name));
    BOOST_TEST(file.entries().size() == golden.all().size());
    for (const auto& [key, entry] : file.entries()) {
      BOOST_TEST((entry.shape == golden[key].shape));
      BOOST_TEST(entry.type == golden[key].dtype);
      if (entry.type != "F32") continue;
      std::vector<float> got(static_cast<std::size_t>(entry.elements));
      file.read(key, got.data());
      BOOST_TEST((got == golden.values(key)));
    }
    check_throws<CheckpointError>([&] { file.entry("absent"); }, {name, "\"absent\""});
  }
}

BOOST_AUTO_TEST_CASE(malformed_safetensors_are_refused) {
  const TemporaryFolder folder;
  const auto refuse_bytes = [&](const std::string& bytes, const std::string& says) {
    const auto path = folder.write("x.safetensors", bytes);
    check_throws<CheckpointError>([&] { runtime::SafetensorsFile::open(path); }, {"x.safetensors", says});
  };
  const auto with = [](const std::string& header, std::size_t data) {
    std::string out(8, '\0');
    const std::uint64_t length = header.size();
    std::memcpy(out.data(), &length, 8);
    return out + header + std::string(data, 'x');
  };
  const auto refuse = [&](const std::string& header, std::size_t data, const std::string& says) {
    refuse_bytes(with(header, data), says);
  };
  const auto one = [](const char* type, const char* shape, const char* offsets) {
    return fmt::format(R"("a":{{"dtype":"{}","shape":{},"data_offsets":{}}})", type, shape, offsets);
  };
  const auto refuse_one = [&](const char* type, const char* shape, const char* offsets, std::size_t data, const char* says) {
    refuse(fmt::format("{{{}}}", one(type, shape, offsets)), data, says);
  };
  refuse_bytes("", "0 bytes");
  refuse_bytes("1234567", "7 bytes");
  refuse_bytes(std::string(8, '\xff') + "{}", "header has 18446744073709551615");
  refuse_bytes(std::string("\x09\0\0\0\0\0\0\0{}", 10), "header has 9 bytes");
  refuse(" {}", 0, "begin with '{'");
  refuse("{", 0, "no JSON");
  refuse("{\"a\":1}", 0, "\"a\"");
  refuse_one("F32", "[2]", "[0,8]", 7, "outside its 7 bytes");
  refuse_one("F32", "[2]", "[8,0]", 8, "outside");
  refuse_one("F32", "[2]", "[-8,0]", 8, "outside");
  refuse_one("F32", "[2]", "[0.0,8]", 8, "outside");
  refuse_one("F32", "[2]", "[0]", 8, "malformed");
  refuse_one("F32", "[3]", "[0,8]", 8, "8 bytes for tensor \"a\"");
  refuse_one("F32", "[-2]", "[0,8]", 8, "impossible shape");
  refuse_one("F32", "[4294967296,4294967296]", "[0,8]", 8, "impossible shape");
  refuse_one("F33", "[2]", "[0,8]", 8, "type F33");
  refuse_one("F32", "[2]", "[0,8]", 9, "1 bytes after");
  refuse_one("F32", "[2]", "[1,9]", 9, "hole");
  refuse(fmt::format(R"({{{},"b":{{"dtype":"U8","shape":[4],"data_offsets":[4,8]}}}})", one("F32", "[2]", "[0,8]")), 8,
         "overlap");
  refuse(fmt::format("{{{0},{0}}}", one("F32", "[2]", "[0,8]")), 8, "twice");
  refuse(R"({"__metadata__":{"a":1}})", 0, "metadata \"a\"");
  const auto good = folder.write("x.safetensors", with(fmt::format("{{{}}}   ", one("F16", "[2,1,1,1,1,1,2]", "[0,8]")), 8));
  const auto file = runtime::SafetensorsFile::open(good);
  BOOST_TEST(!file.entry("a").dtype.has_value());
  BOOST_TEST(file.entry("a").elements == 4);
}

BOOST_AUTO_TEST_CASE(small_files_are_replaced_whole) {
  const TemporaryFolder folder;
  const fs::path path = folder.path() / "config.toml";
  runtime::write_file_durably(path, "one");
  runtime::write_file_durably(path, "two");
  BOOST_TEST(text_of(path) == "two");
  {
    const SmallDisk disk(2);
    BOOST_CHECK_THROW(runtime::write_file_durably(path, "three"), CheckpointError);
  }
  BOOST_TEST(text_of(path) == "two");
  BOOST_TEST(names_in(folder.path()).size() == 1U);
  check_throws<CheckpointError>([&] { runtime::InputFile(folder.path() / "absent"); }, {"absent", "No such file"});
  check_throws<CheckpointError>([&] { runtime::InputFile(folder.path()); }, {"no file"});
}

}  // namespace tradewind::tests
