// Checkpoints written by several ranks in slices, loaded by any number of them.
#include <algorithm>
#include <boost/test/unit_test.hpp>
#include <cstring>
#include <fstream>
#include <random>

#include "runtime/checkpoint/checkpoint.h"
#include "runtime/parallel/shard.h"
#include "tests/support/command.h"
#include "tests/support/oracle.h"
#include "tests/support/safetensors.h"
#include "tests/support/temporary_folder.h"
#include "tests/support/thread_communicator.h"
#include "tests/support/throws.h"

namespace tradewind::tests {
namespace {

namespace fs = std::filesystem;
using kernels::DType;
using runtime::Bucket;
using runtime::Check;
using runtime::Checkpoint;
using runtime::CheckpointContents;
using runtime::CheckpointFolder;
using runtime::CheckpointWriter;
using runtime::Communicator;
using runtime::host_allocator;
using runtime::Shape;
using runtime::Tensor;

/// A run directory's folder of checkpoints with a staging directory.
struct Folder {
  TemporaryFolder temporary;
  fs::path path = temporary.path() / "checkpoints", staging = path / ".unfinished-00000001";
  Folder() { fs::create_directories(staging); }
  CheckpointFolder folder(std::function<void()> guard = nullptr) const { return {path, staging, std::move(guard)}; }
  fs::path step(const char* digits) const { return path / (std::string("step-") + digits); }
  std::vector<std::string> names() const {
    std::vector<std::string> out;
    for (const auto& entry : fs::directory_iterator(path)) out.push_back(entry.path().filename());
    std::ranges::sort(out);
    return out;
  }
  std::size_t unfinished() const {
    return static_cast<std::size_t>(std::distance(fs::directory_iterator(staging), fs::directory_iterator{}));
  }
};

void need(bool holds, const char* what) {
  if (!holds) throw std::logic_error(what);
}

/// Every rank has met with an error that says `parts`.
void check_all_say(const std::vector<std::string>& errors, const std::vector<std::string>& parts) {
  for (const std::string& error : errors)
    for (const std::string& part : parts)
      BOOST_CHECK_MESSAGE(error.find(part) != std::string::npos, "\"" << error << "\" does not say \"" << part << "\"");
}

void check_none(const std::vector<std::string>& errors) {
  for (const std::string& error : errors) BOOST_CHECK_EQUAL(error, "");
}

/// Parameters of odd sizes, two buckets, and a state of the same layout; every element tells its tensor and place.
struct Model {
  runtime::Context context{{}, 1, 1};
  runtime::ParameterStore store;
  Tensor moment;
  Model() {
    const auto add = [&](const char* name, const Shape& shape) { store.add(name, shape, runtime::Init::constant(0), true); };
    add("embedding.weight", {70, 9});
    store.begin_block();
    add("blocks.0.weight", {33, 31});
    add("blocks.0.bias", {31});
    add("scalar", {});
    store.begin_block();
    add("head.weight", {7, 300});
    store.allocate(context, 4096);
    BOOST_REQUIRE_GE(store.buckets().size(), 2U);
    moment = context.tensor(store.values().shape());
    for (std::int64_t i = 0; i < moment.elements(); ++i) {
      store.values().data<float>()[i] = static_cast<float>(i);
      moment.data<float>()[i] = -static_cast<float>(i);
    }
  }
  CheckpointContents contents(std::int64_t step, int rank, int size) const {
    CheckpointContents out{.step = step, .tensors = {}, .state = {{"step_again", step}, {"writer", rank}}};
    for (const auto& [prefix, flat] : {std::pair<std::string, Tensor>{"", store.values()}, {"optimizer.m.", moment}})
      for (const auto& part : owned_parts(store, rank, size))
        out.tensors.push_back({.name = prefix + part.parameter->name(),
                               .data = flat.view(part.flat, {part.end - part.begin}),
                               .global_shape = part.parameter->shape(),
                               .begin = part.begin});
    return out;
  }
  void save(const Folder& folder, std::int64_t step, int size) const {
    check_none(on_ranks(size, [&](Communicator& c) {
      CheckpointWriter writer(folder.folder(), 2, c.rank(), c.size());
      writer.begin(contents(step, c.rank(), c.size()));
      writer.commit(c);
    }));
  }
  /// Reads as `size` ranks do that each own a share.
  void check(const Checkpoint& checkpoint, int size) const {
    for (int rank = 0; rank < size; ++rank)
      for (const auto& part : owned_parts(store, rank, size)) {
        const auto count = static_cast<std::size_t>(part.end - part.begin);
        std::vector<float> got(count + 1);
        for (const auto& [prefix, flat] : {std::pair<std::string, Tensor>{"", store.values()}, {"optimizer.m.", moment}}) {
          checkpoint.read(prefix + part.parameter->name(), part.begin, part.end - part.begin, DType::kFloat32, got.data());
          BOOST_REQUIRE(std::memcmp(got.data(), flat.data<float>() + part.flat, count * sizeof(float)) == 0);
          BOOST_REQUIRE_EQUAL(got.back(), 0);
        }
      }
  }
};

}  // namespace

BOOST_AUTO_TEST_CASE(shards_cover_a_bucket_once) {
  for (const Bucket bucket : {Bucket{0, 1024}, Bucket{2048, 2048 + 5 * 1024}, Bucket{16, 16 + 48}, Bucket{32, 32}})
    for (const int size : {1, 2, 3, 4, 7, 64, 1000}) {
      std::int64_t at = bucket.begin;
      for (int rank = 0; rank < size; ++rank) {
        const auto shard = shard_of(bucket, rank, size);
        BOOST_REQUIRE_EQUAL(shard.begin, at);
        BOOST_REQUIRE_GE(shard.end, shard.begin);
        BOOST_REQUIRE_EQUAL((shard.begin - bucket.begin) % 16, 0);
        BOOST_REQUIRE_LE(shard.end - shard.begin, (bucket.end - bucket.begin) / size + 16);
        at = shard.end;
      }
      BOOST_REQUIRE_EQUAL(at, bucket.end);
    }
}

BOOST_AUTO_TEST_CASE(any_number_of_ranks_loads_what_any_number_wrote) {
  const Model model;
  for (const int writers : {1, 2, 3, 5, 64}) {  // of 64 some own nothing
    const Folder folder;
    model.save(folder, 40, writers);
    const auto checkpoint = Checkpoint::open(folder.step("00000040"));
    BOOST_TEST(checkpoint.step() == 40);
    BOOST_TEST(checkpoint.world_size() == writers);
    BOOST_TEST((checkpoint.state() == nlohmann::json{{"step_again", 40}, {"writer", 0}}));
    BOOST_TEST(checkpoint.names().size() == 10U);
    BOOST_TEST((checkpoint.shape("blocks.0.weight") == Shape{33, 31}));
    BOOST_TEST((checkpoint.dtype("scalar") == DType::kFloat32));
    for (const int readers : {1, 2, 3, 4}) model.check(checkpoint, readers);
    model.check(Checkpoint::open(folder.step("00000040"), Check::kLayout), 4);
    BOOST_TEST(folder.unfinished() == 0U);
    BOOST_TEST(std::distance(fs::directory_iterator(folder.step("00000040")), fs::directory_iterator{}) == writers + 2);
  }
}

BOOST_AUTO_TEST_CASE(random_cuts_over_several_files_come_back) {
  std::mt19937 random(5);
  for (int round = 0; round < 20; ++round) {
    const Folder folder;
    const std::int64_t elements = 1 + random() % 200;
    const Tensor whole(host_allocator(), {elements}, DType::kInt64);
    for (std::int64_t i = 0; i < elements; ++i) whole.data<std::int64_t>()[i] = i * i;
    const int size = 1 + static_cast<int>(random() % 4);
    std::vector<CheckpointContents> of(static_cast<std::size_t>(size));
    for (std::int64_t at = 0; at < elements;) {
      const std::int64_t count = std::min<std::int64_t>(elements - at, 1 + random() % 40);
      auto& mine = of[random() % of.size()];
      mine.step = 1;
      mine.tensors.push_back({.name = "x", .data = whole.view(at, {count}), .global_shape = {elements}, .begin = at});
      at += count;
    }
    for (auto& mine : of) mine.step = 1;
    check_none(on_ranks(size, [&](Communicator& c) {
      CheckpointWriter writer(folder.folder(), 1, c.rank(), size);
      writer.begin(of[static_cast<std::size_t>(c.rank())]);
      writer.commit(c);
    }));
    const auto checkpoint = Checkpoint::open(folder.step("00000001"));
    for (int i = 0; i < 50; ++i) {
      const std::int64_t begin = static_cast<std::int64_t>(random()) % (elements + 1);
      const std::int64_t count = static_cast<std::int64_t>(random()) % (elements - begin + 1);
      std::vector<std::int64_t> got(static_cast<std::size_t>(count) + 1);
      checkpoint.read("x", begin, count, DType::kInt64, got.data());
      BOOST_REQUIRE(std::memcmp(got.data(), whole.data<std::int64_t>() + begin, static_cast<std::size_t>(count) * 8) == 0);
    }
  }
}

BOOST_AUTO_TEST_CASE(a_rank_that_fails_fails_all_and_leaves_what_was_there) {
  const Model model;
  const Folder folder;
  model.save(folder, 10, 3);
  const auto before = folder.names();
  for (const int odd : {0, 1, 2}) {
    const auto errors = on_ranks(3, [&](Communicator& c) {
      CheckpointWriter writer(folder.folder(), 2, c.rank(), c.size());
      if (c.rank() == odd)  // a directory of the chunk's name stands in for a disk that fails
        fs::create_directories(folder.staging / "step-00000020" /
                               ("chunk-0000" + std::to_string(odd) + "-of-00003.safetensors"));
      writer.begin(model.contents(20, c.rank(), c.size()));
      try {
        writer.commit(c);
      } catch (const CheckpointError&) {
        need(!writer.pending(), "nothing is under way");
        throw;
      }
    });
    check_all_say(errors, {"step 20", "rank " + std::to_string(odd) + " on ", "File exists", "as they were"});
    BOOST_TEST((folder.names() == before));
    BOOST_TEST(folder.unfinished() == 0U);
  }
  model.check(*runtime::open_newest_checkpoint(folder.path, nullptr), 1);
  model.save(folder, 20, 2);
  BOOST_TEST(runtime::open_newest_checkpoint(folder.path, nullptr)->step() == 20);
}

BOOST_AUTO_TEST_CASE(an_element_that_no_rank_saves_or_two_save_is_refused) {
  const Model model;
  const Folder folder;
  const auto refuse = [&](const std::string& says, const std::function<void(CheckpointContents&)>& change) {
    check_all_say(on_ranks(2,
                           [&](Communicator& c) {
                             CheckpointWriter writer(folder.folder(), 2, c.rank(), c.size());
                             auto contents = model.contents(20, c.rank(), c.size());
                             if (c.rank() == 1) change(contents);
                             writer.begin(contents);
                             writer.commit(c);
                           }),
                  {says, "rank 0 on "});
    BOOST_TEST(runtime::list_checkpoints(folder.path).empty());
  };
  refuse("no slice of tensor", [](auto& contents) { contents.tensors.erase(contents.tensors.begin()); });
  refuse("overlap at element", [](auto& contents) {
    for (auto& slice : contents.tensors)
      if (slice.begin > 0) {
        --slice.begin;
        return;
      }
    need(false, "rank 1 has no slice that begins inside a tensor");
  });
}

BOOST_AUTO_TEST_CASE(a_flipped_byte_or_a_lost_file_of_any_rank_is_noticed) {
  const Model model;
  const Folder folder;
  model.save(folder, 10, 3);
  const auto notices = [&] {
    try {
      Checkpoint::open(folder.step("00000010"));
      return false;
    } catch (const CheckpointError&) {
      return true;
    }
  };
  std::mt19937 random(3);
  for (const auto& entry : fs::directory_iterator(folder.step("00000010"))) {
    const fs::path &file = entry.path(), aside = folder.path / "aside";
    const std::string original = text_of(file);
    for (int i = 0; i < 500; ++i) {
      const std::size_t at = random() % original.size();
      std::fstream out(file, std::ios::binary | std::ios::in | std::ios::out);
      out.seekp(static_cast<std::streamoff>(at)).put(static_cast<char>(original[at] ^ (1 << random() % 8))).flush();
      BOOST_REQUIRE_MESSAGE(notices(), file << " byte " << at);
      out.seekp(static_cast<std::streamoff>(at)).put(original[at]);
    }
    fs::rename(file, aside);
    BOOST_TEST(notices());
    fs::rename(aside, file);
    BOOST_REQUIRE(!notices());
  }
}

BOOST_AUTO_TEST_CASE(the_second_format_stays_readable) {
  const auto checkpoint = Checkpoint::open(golden_path("checkpoint-v2/step-00000001"));  // of three ranks
  BOOST_TEST(checkpoint.world_size() == 3);
  BOOST_TEST((checkpoint.state() == nlohmann::json{{"step_again", 1}}));
  BOOST_TEST((checkpoint.names() == std::vector<std::string>{"optimizer.m.weight", "weight"}));
  BOOST_TEST((checkpoint.shape("weight") == Shape{20, 30}));
  std::vector<float> values(600);
  checkpoint.read("weight", 0, 600, DType::kFloat32, values.data());
  for (int i = 0; i < 600; ++i) BOOST_REQUIRE_EQUAL(values[static_cast<std::size_t>(i)], static_cast<float>(1000 + i));
}

BOOST_AUTO_TEST_CASE(training_goes_on_until_all_have_written) {
  const Model model;
  const Folder folder;
  check_none(on_ranks(2, [&](Communicator& c) {
    CheckpointWriter writer(folder.folder(), 2, c.rank(), c.size());
    need(!writer.pending() && !writer.local_done(), "nothing is under way");
    writer.commit(c);  // and nothing happens
    for (const std::int64_t step : {1, 2, 3}) {
      const fs::path made = folder.path / ("step-0000000" + std::to_string(step));
      writer.begin(model.contents(step, c.rank(), c.size()));
      need(writer.pending(), "one is under way");
      try {
        writer.begin(model.contents(9, c.rank(), c.size()));
        need(false, "a second one was begun");
      } catch (const InternalError&) {
      }
      while (!writer.local_done()) std::this_thread::yield();
      c.barrier();
      need(!fs::exists(made), "there is none before the commit");
      c.barrier();
      writer.commit(c);
      need(fs::exists(made), "there is one after it");
    }
  }));
  BOOST_TEST((folder.names() == std::vector<std::string>{".unfinished-00000001", "step-00000002", "step-00000003"}));
  BOOST_CHECK_THROW(CheckpointWriter(folder.path, 2, 0, 2), InternalError);
  BOOST_CHECK_THROW(CheckpointWriter(folder.folder(), 2, 2, 2), InternalError);
}

BOOST_AUTO_TEST_CASE(an_owner_that_was_replaced_commits_nothing) {
  const Model model;
  const Folder folder;
  model.save(folder, 10, 2);
  const auto before = folder.names();
  const auto save = [&](int size, const std::function<void()>& guard) {
    return on_ranks(size, [&](Communicator& c) {
      CheckpointWriter writer(folder.folder(guard), 1, c.rank(), size);
      writer.begin(model.contents(20, c.rank(), size));
      writer.commit(c);
    });
  };
  for (const int size : {1, 2}) {
    check_all_say(save(size, [] { throw CheckpointError("the run has another owner"); }), {"another owner"});
    BOOST_TEST((folder.names() == before));
    // Stopped between asking and renaming, it is not told; but its staging directory is gone.
    const fs::path taken = folder.path / ".unfinished-taken";
    check_all_say(save(size, [&] { fs::rename(folder.staging, taken); }), {"No such file or directory"});
    fs::remove_all(taken);
    check_all_say(save(size, nullptr), {"No such file or directory"});  // nor does it make the directory anew
    BOOST_TEST((folder.names() == std::vector<std::string>{"step-00000010"}));
    fs::create_directory(folder.staging);
  }
  check_none(save(2, nullptr));
  BOOST_TEST((folder.names() == std::vector<std::string>{".unfinished-00000001", "step-00000020"}));
}

}  // namespace tradewind::tests
