#include "runtime/data/prefetch.h"

#include <boost/test/unit_test.hpp>
#include <chrono>
#include <thread>

#include "kernels/base/error.h"
#include "runtime/data/shuffle.h"
#include "tests/support/throws.h"

using namespace tradewind;
using namespace tradewind::runtime;

namespace {

struct Seen {
  std::uint64_t running;
  std::int64_t epoch, index;
  bool operator==(const Seen&) const = default;
};
using Sequence = std::vector<Seen>;

/// A data set whose batches hold the samples' identities.
class Mirror final : public Dataset {
 public:
  explicit Mirror(std::int64_t samples, std::uint64_t fails_at = UINT64_MAX) : samples_(samples), fails_at_(fails_at) {}
  std::int64_t samples_per_epoch() const override { return samples_; }
  std::uint64_t checksum() const override { return 1; }
  Batch collate(std::span<const SampleRef> samples) const override {
    Batch batch;
    const Tensor rows(host_allocator(), {static_cast<std::int64_t>(samples.size()), 3}, DType::kInt64);
    auto* out = rows.data<std::int64_t>();
    for (const SampleRef& sample : samples) {
      if (sample.running >= fails_at_) throw DataError("the disk is gone");
      *out++ = static_cast<std::int64_t>(sample.running), *out++ = sample.epoch, *out++ = sample.index;
      batch.valid += sample.index;  // differs between samples
    }
    batch.fields["rows"] = rows;
    batch.samples = static_cast<std::int64_t>(samples.size());
    batch.tokens = 10 * batch.samples;
    return batch;
  }

 private:
  std::int64_t samples_;
  std::uint64_t fails_at_;
};

Sequence samples_of(const StepBatch& step) {
  Sequence out;
  for (const Batch& batch : step.micro) {
    const auto rows = batch["rows"].span<std::int64_t>();
    for (std::size_t i = 0; i < rows.size(); i += 3)
      out.push_back({static_cast<std::uint64_t>(rows[i]), rows[i + 1], rows[i + 2]});
  }
  return out;
}

/// What all ranks take in `steps` steps, in order.
Sequence run(std::int64_t n, std::int64_t batch, std::int64_t micro, int world, std::uint64_t first, int steps,
             bool shuffle = true) {
  const Mirror data(n);
  std::vector<std::unique_ptr<StepPrefetcher>> ranks;
  for (int rank = 0; rank < world; ++rank)
    ranks.push_back(std::make_unique<StepPrefetcher>(data, batch, micro, 99, rank, world, first, shuffle));
  Sequence out;
  for (int step = 0; step < steps; ++step)
    for (const auto& rank : ranks)
      for (const Seen& seen : samples_of(rank->next())) out.push_back(seen);
  return out;
}

}  // namespace

BOOST_AUTO_TEST_CASE(samples_follow_the_shuffle_across_epochs) {
  const Sequence seen = run(23, 5, 0, 1, 0, 20);  // four epochs and a piece; steps span their boundaries
  BOOST_TEST(seen.size() == 100U);
  for (std::uint64_t s = 0; s < 100; ++s) {
    const auto epoch = static_cast<std::int64_t>(s / 23), i = static_cast<std::int64_t>(s % 23);
    BOOST_TEST((seen[s] == Seen{s, epoch, permute(99, epoch, 23, i)}));
  }
}

BOOST_AUTO_TEST_CASE(micro_batches_and_ranks_change_nothing) {
  const Sequence expected = run(23, 12, 0, 1, 7, 6);
  for (const int world : {1, 2, 3, 5, 12})
    for (const std::int64_t micro : {0, 1, 2, 5, 12, 100}) BOOST_TEST((run(23, 12, micro, world, 7, 6) == expected));
}

BOOST_AUTO_TEST_CASE(a_batch_may_be_larger_than_the_data) {
  const Sequence seen = run(3, 8, 3, 1, 0, 2);
  BOOST_TEST(seen.size() == 16U);
  BOOST_TEST(seen.back().epoch == 5);
}

BOOST_AUTO_TEST_CASE(resuming_anywhere_goes_on_where_it_was) {
  const Sequence unbroken = run(23, 5, 2, 1, 0, 20);
  for (std::uint64_t done = 1; done < 12; ++done) {
    const Sequence rest = run(23, 5, 2, 1, done * 5, static_cast<int>(20 - done));
    BOOST_TEST((rest == Sequence(unbroken.begin() + static_cast<std::ptrdiff_t>(done * 5), unbroken.end())));
  }
}

BOOST_AUTO_TEST_CASE(without_shuffle_the_order_is_the_data_sets) {
  const Sequence seen = run(7, 3, 0, 1, 0, 7, false);
  for (std::size_t s = 0; s < seen.size(); ++s) BOOST_TEST(seen[s].index == static_cast<std::int64_t>(s % 7));
}

BOOST_AUTO_TEST_CASE(a_step_knows_its_counts) {
  const Mirror data(50);
  StepPrefetcher steps(data, 10, 4, 1, 1, 2, 30);  // rank 1 of 2: five samples, as 4 and 1
  const StepBatch step = steps.next();
  BOOST_TEST(step.first_sample == 30U);
  BOOST_TEST(step.micro.size() == 2U);
  BOOST_TEST(step.micro[0].samples == 4);
  BOOST_TEST(step.micro[1].samples == 1);
  BOOST_TEST(step.samples == 5);
  BOOST_TEST(step.tokens == 50);
  std::int64_t valid = 0;
  for (const Seen& seen : samples_of(step)) valid += seen.index;
  BOOST_TEST(step.valid == valid);
  BOOST_TEST(samples_of(step)[0].running == 35U);
  BOOST_TEST(steps.next().first_sample == 40U);
}

BOOST_AUTO_TEST_CASE(what_goes_wrong_on_the_thread_comes_out_of_next) {
  const Mirror data(100, 25);
  StepPrefetcher steps(data, 10, 0, 1, 0, 1, 0);
  steps.next();
  steps.next();
  for (int again = 0; again < 2; ++again) tests::check_throws<DataError>([&] { steps.next(); }, {"the disk is gone"});
}

BOOST_AUTO_TEST_CASE(it_can_be_dropped_at_any_moment) {
  const Mirror data(100);
  for (int i = 0; i < 50; ++i) {
    StepPrefetcher steps(data, 10, 3, 1, 0, 1, 0);
    for (int taken = 0; taken < i % 5; ++taken) steps.next();
    if (i % 7 == 0) std::this_thread::sleep_for(std::chrono::milliseconds(1));  // the queue fills
  }
}

BOOST_AUTO_TEST_CASE(a_rank_without_samples_is_refused) {
  const Mirror data(100);
  tests::check_throws<ConfigError>([&] { StepPrefetcher(data, 3, 0, 1, 0, 4, 0); }, {"train.batch = 3", "4 ranks"});
  BOOST_CHECK_THROW(StepPrefetcher(data, 3, 0, 1, 2, 2, 0), InternalError);
}
