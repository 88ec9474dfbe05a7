#include "runtime/data/sequence_dataset.h"

#include <xxhash.h>

#include <boost/test/unit_test.hpp>
#include <cmath>
#include <map>

#include "kernels/base/error.h"
#include "runtime/data/prefetch.h"
#include "tests/support/histories.h"
#include "tests/support/throws.h"

using namespace tradewind;
using namespace tradewind::runtime;
using Ids = std::vector<std::int32_t>;
using Longs = std::vector<std::int64_t>;

namespace {

template <class T>
std::vector<T> values(const Batch& batch, const std::string& field) {
  const auto span = batch[field].span<T>();
  return {span.begin(), span.end()};
}

std::vector<std::int32_t> list(std::span<const std::int32_t> items) { return {items.begin(), items.end()}; }

}  // namespace

// User 0: 1 2 3 4 | 5 | 6. User 1 has one training event. User 2: all of its two events train. User 3: 9 8 | 7 | 9.
const std::vector<Ids> kHistories = {{1, 2, 3, 4, 5, 6}, {5, 5, 1}, {3, 2}, {9, 8, 7, 9}};

BOOST_AUTO_TEST_CASE(a_sample_is_a_users_last_training_events) {
  const SequenceDataset data(tests::shop_of(kHistories, 10), {.context = 2});
  BOOST_REQUIRE_EQUAL(data.samples_per_epoch(), 3);
  const Batch batch = data.collate(std::vector<SampleRef>{{70, 0, 0}, {71, 0, 2}, {72, 0, 1}});
  BOOST_TEST(values<std::int32_t>(batch, "ids") == (Ids{2, 3, 9, 3}));
  BOOST_TEST(values<std::int32_t>(batch, "targets") == (Ids{3, 4, 8, 2}));
  BOOST_TEST(values<std::int64_t>(batch, "offsets") == (Longs{0, 2, 3, 4}));
  BOOST_TEST(values<std::int32_t>(batch, "positions") == (Ids{0, 1, 0, 0}));
  BOOST_TEST(values<std::int32_t>(batch, "slots") == (Ids{0, 1, 0, 0}));
  BOOST_TEST(values<std::uint64_t>(batch, "samples") == (std::vector<std::uint64_t>{70, 70, 71, 72}));
  BOOST_TEST(batch.valid == 4);
  BOOST_TEST(batch.samples == 3);
  BOOST_TEST(batch.tokens == 0);  // speed is told in sequences
  BOOST_TEST(batch.max_length == 2);
}

BOOST_AUTO_TEST_CASE(validation_knows_training_events_and_the_test_knows_both) {
  const auto shop = tests::shop_of(kHistories, 10);
  const HeldOut validation(shop, Part::kValidation, 3), test(shop, Part::kTest, 3);
  BOOST_REQUIRE_EQUAL(validation.size(), 3);
  BOOST_REQUIRE_EQUAL(test.size(), 3);
  BOOST_TEST(validation.user(2) == 3);
  const auto before = validation.collate(0, 3), after = test.collate(0, 3);
  BOOST_TEST(values<std::int32_t>(before.batch, "ids") == (Ids{2, 3, 4, 5, 9, 8}));
  BOOST_TEST(values<std::int64_t>(before.batch, "offsets") == (Longs{0, 3, 4, 6}));
  BOOST_TEST(values<std::int32_t>(before.batch, "targets") == Ids(6, -100));
  BOOST_TEST(list(before.targets.of(0)) == Ids{5});
  BOOST_TEST(list(before.seen.of(0)) == (Ids{1, 2, 3, 4}));  // more than the window holds
  BOOST_TEST(values<std::int32_t>(after.batch, "ids") == (Ids{3, 4, 5, 5, 5, 9, 8, 7}));
  BOOST_TEST(list(after.targets.of(0)) == Ids{6});
  BOOST_TEST(list(after.seen.of(1)) == Ids{5});
  BOOST_TEST(list(after.seen.of(2)) == (Ids{7, 8, 9}));
  BOOST_TEST(list(after.targets.of(2)) == Ids{9});  // had before, still what is asked for
}

BOOST_AUTO_TEST_CASE(histories_to_serve_are_cut_to_the_newest_and_may_be_empty) {
  const std::vector<Ids> histories = {{1, 2, 3, 4}, {}, {9}};
  const Batch batch = pack_histories(histories, 2);
  BOOST_TEST(values<std::int32_t>(batch, "ids") == (Ids{3, 4, 9}));
  BOOST_TEST(values<std::int64_t>(batch, "offsets") == (Longs{0, 2, 2, 3}));
  BOOST_TEST(batch.valid == 0);
}

BOOST_AUTO_TEST_CASE(with_prefixes_a_sample_is_an_event_and_what_came_before_it) {
  const SequenceDataset data(tests::shop_of(kHistories, 10), {.context = 2, .targets = {.prefixes = true}});
  BOOST_REQUIRE_EQUAL(data.samples_per_epoch(), 5);  // user 0: three, users 2 and 3: one
  const Batch batch = data.collate(std::vector<SampleRef>{{70, 0, 2}, {71, 0, 0}, {72, 0, 4}});
  BOOST_TEST(values<std::int32_t>(batch, "ids") == (Ids{2, 3, 1, 9}));
  BOOST_TEST(values<std::int32_t>(batch, "targets") == (Ids{-100, 4, 2, 8}));
  BOOST_TEST(values<std::int64_t>(batch, "offsets") == (Longs{0, 2, 3, 4}));
  BOOST_TEST(values<std::int32_t>(batch, "trained") == (Ids{1, 2, 3}));
  BOOST_TEST(values<std::int32_t>(batch, "trained_targets") == (Ids{4, 2, 8}));
  BOOST_TEST(batch.valid == 3);
}

BOOST_AUTO_TEST_CASE(negatives_are_drawn_for_targets_alone) {
  const SequenceDataset data(tests::shop_of(kHistories, 10),
                             {.context = 2, .negatives = {.count = 3}, .targets = {.prefixes = true}});
  const Batch batch = data.collate(std::vector<SampleRef>{{70, 0, 2}, {71, 0, 0}});
  BOOST_TEST(batch["negatives"].size(0) == 2);
  const Batch alone = data.collate(std::vector<SampleRef>{{71, 0, 0}});
  const auto both = values<std::int32_t>(batch, "negatives"), one = values<std::int32_t>(alone, "negatives");
  BOOST_TEST((Ids(both.begin() + 3, both.end()) == one));
}

BOOST_AUTO_TEST_CASE(hidden_items_belong_to_the_sample) {
  std::vector<Ids> histories = {{1, 2, 3, 4, 5, 6, 7, 8, 9, 0, 1, 2}, {5, 6, 7, 8}};
  const auto shop = tests::shop_of(histories, 10);
  const SequenceDataset data(shop, {.context = 8, .seed = 3, .targets = {.masked = 0.2}});
  const Ids window = {3, 4, 5, 6, 7, 8, 9, 0};
  int hidden = 0, single = 0;
  constexpr int kSamples = 4000;
  for (std::uint64_t running = 0; running < kSamples; ++running) {
    const Batch together = data.collate(std::vector<SampleRef>{{running + 9000, 0, 1}, {running, 0, 0}});
    const Batch alone = data.collate(std::vector<SampleRef>{{running, 0, 0}});
    const auto all = values<std::int32_t>(together, "ids"), ids = values<std::int32_t>(alone, "ids");
    BOOST_REQUIRE((Ids(all.begin() + 2, all.end()) == ids));
    const auto targets = values<std::int32_t>(alone, "targets");
    BOOST_REQUIRE(ids.size() == window.size());
    int here = 0;
    for (std::size_t t = 0; t < ids.size(); ++t) {
      const bool is_hidden = ids[t] == 10;
      here += is_hidden ? 1 : 0;
      BOOST_REQUIRE_EQUAL(is_hidden ? targets[t] : ids[t], window[t]);
      BOOST_REQUIRE(is_hidden || targets[t] == -100);
    }
    BOOST_REQUIRE_EQUAL(alone.valid, here);
    BOOST_REQUIRE_GE(here, 1);
    BOOST_REQUIRE_GE(together.valid, here + 1);
    hidden += here;
    single += here == 1 ? 1 : 0;
  }
  // 8 places of a fifth, and one where there would be none: 1.6 + .8^8. Standard deviation of a sample: 1.0.
  BOOST_CHECK_SMALL(hidden / double{kSamples} - (1.6 + std::pow(0.8, 8)), 0.08);
  // One: by chance, or for want of any.
  BOOST_CHECK_SMALL(single / double{kSamples} - (8 * 0.2 * std::pow(0.8, 7) + std::pow(0.8, 8)), 0.04);
  BOOST_TEST(values<std::int32_t>(data.collate(std::vector<SampleRef>{{1, 0, 0}}), "ids") !=
             values<std::int32_t>(data.collate(std::vector<SampleRef>{{2, 0, 0}}), "ids"));
}

BOOST_AUTO_TEST_CASE(a_query_of_a_masked_model_ends_with_the_mask) {
  const auto shop = tests::shop_of(kHistories, 10);
  const auto of = HeldOut(shop, Part::kTest, HistoryForm(3, 10)).collate(0, 2);
  BOOST_TEST(values<std::int32_t>(of.batch, "ids") == (Ids{4, 5, 10, 5, 5, 10}));
  const std::vector<Ids> histories = {{1, 2, 3, 4}, {}, {9}};
  const Batch batch = pack_histories(histories, {2, 10});
  BOOST_TEST(values<std::int32_t>(batch, "ids") == (Ids{4, 10, 9, 10}));
  BOOST_TEST(values<std::int64_t>(batch, "offsets") == (Longs{0, 2, 2, 4}));
  BOOST_TEST(values<std::int32_t>(batch, "positions") == (Ids{0, 1, 0, 1}));
}

// Whatever batch, rank or micro-batch a user comes in; uniform over what it has not had.
BOOST_AUTO_TEST_CASE(negatives_belong_to_the_sample_and_are_new_to_the_user) {
  const auto shop = tests::shop_of(kHistories, 10);
  const SequenceDataset data(shop, {.context = 5, .negatives = {.count = 3}, .seed = 4});
  const auto together = values<std::int32_t>(data.collate(std::vector<SampleRef>{{70, 0, 0}, {71, 0, 2}}), "negatives");
  const auto first = values<std::int32_t>(data.collate(std::vector<SampleRef>{{70, 0, 0}}), "negatives");
  auto apart = first;
  for (const auto id : values<std::int32_t>(data.collate(std::vector<SampleRef>{{71, 0, 2}}), "negatives")) apart.push_back(id);
  BOOST_TEST(together == apart);
  BOOST_TEST(together.size() == 12U);  // 3 rows and 1
  BOOST_TEST(first != values<std::int32_t>(data.collate(std::vector<SampleRef>{{170, 1, 0}}), "negatives"));
  std::vector<int> counts(10, 0);
  constexpr int kDraws = 3000;
  for (std::uint64_t running = 0; running < kDraws; ++running)
    for (const auto id : values<std::int32_t>(data.collate(std::vector<SampleRef>{{running, 0, 0}}), "negatives"))
      ++counts[static_cast<std::size_t>(id)];
  for (const int item : {1, 2, 3, 4}) BOOST_TEST(counts[static_cast<std::size_t>(item)] == 0);  // its training events
  const double expected = kDraws * 9 / 6.0;  // held-out items are as unknown as any
  for (const int item : {0, 5, 6, 7, 8, 9})
    BOOST_CHECK_MESSAGE(std::abs(counts[static_cast<std::size_t>(item)] - expected) < 5 * std::sqrt(expected),
                        item << ": " << counts[static_cast<std::size_t>(item)]);
}

BOOST_AUTO_TEST_CASE(a_shared_set_of_negatives_is_one_for_the_batch) {
  const SequenceDataset data(tests::shop_of(kHistories, 10), {.context = 5, .negatives = {.count = 4, .shared = true}});
  const Batch batch = data.collate(std::vector<SampleRef>{{70, 0, 0}, {71, 0, 2}});
  BOOST_TEST(batch["negatives"].elements() == 4);
}

BOOST_AUTO_TEST_CASE(in_batch_negatives_are_the_targets_of_the_rows) {
  const auto shop = tests::shop_of(kHistories, 10);
  const SequenceDataset data(shop, {.context = 2, .negatives = {.count = 1, .kind = NegativeKind::kInBatch, .log_q = true}});
  const Batch batch = data.collate(std::vector<SampleRef>{{70, 0, 0}, {71, 0, 2}});
  BOOST_TEST(values<std::int32_t>(batch, "negatives") == (Ids{3, 4, 8}));
  // Of an epoch's targets, within the windows: 3, 4, 2, 8.
  const auto log_q = values<float>(batch, "log_q");
  BOOST_REQUIRE(log_q.size() == 10U);
  for (const std::size_t item : {2U, 3U, 4U, 8U}) BOOST_TEST(std::abs(log_q[item] - std::log(0.25)) < 1e-6);
  BOOST_TEST(log_q[1] < -20);  // never a target
}

namespace {

/// XXH3-64 of all rows of a step, whichever rank and micro-batch has them.
std::uint64_t hash_of_step(const SequenceDataset& data, int ranks, std::int64_t micro, std::uint64_t first) {
  std::map<std::string, std::string> bytes;
  for (int rank = 0; rank < ranks; ++rank) {
    StepPrefetcher prefetcher(data, 12, micro, 99, rank, ranks, first);
    const StepBatch step = prefetcher.next();
    for (const Batch& batch : step.micro)
      for (const auto& [name, field] : batch.fields)
        if (name != "offsets") bytes[name].append(static_cast<const char*>(field.raw()), field.bytes());
  }
  std::string all;
  for (const auto& [name, field] : bytes) all += name + field;
  return XXH3_64bits(all.data(), all.size());
}

}  // namespace

BOOST_AUTO_TEST_CASE(a_step_has_the_same_hash_on_any_number_of_ranks) {
  std::vector<Ids> histories;
  for (std::int32_t user = 0; user < 40; ++user) {
    histories.emplace_back();
    for (std::int32_t e = 0; e < 4 + user % 7; ++e) histories.back().push_back((user * user + 3 * e) % 50);
  }
  const auto shop = tests::shop_of(histories, 50);
  for (const NegativeKind kind : {NegativeKind::kUniform, NegativeKind::kPopularity}) {
    const SequenceDataset data(shop, {.context = 5, .negatives = {.count = 3, .kind = kind}, .seed = 5});
    const std::uint64_t expected = hash_of_step(data, 1, 0, 36);
    for (const int ranks : {1, 2, 3, 4})
      for (const std::int64_t micro : {0, 1, 5}) BOOST_TEST(hash_of_step(data, ranks, micro, 36) == expected);
    BOOST_TEST(hash_of_step(data, 1, 0, 48) != expected);
  }
}

BOOST_AUTO_TEST_CASE(nothing_to_learn_from_is_an_error) {
  const auto shop = tests::shop_of({{1, 2, 3}, {4}}, 10);
  tests::check_throws<DataError>([&] { SequenceDataset(shop, {.context = 5}); },
                                 {"two events in the training part", "data.split"});
  const auto all = tests::shop_of({{0, 1, 2, 0, 1}}, 3);
  tests::check_throws<DataError>([&] { SequenceDataset(all, {.context = 5, .negatives = {.count = 1}}); },
                                 {"\"u0\"", "every item"});
}

// Each sequence's own, in training, in ranking and as served, the mask's too; what dropout is keyed by stays where it was.
BOOST_AUTO_TEST_CASE(positions_may_count_from_the_newest_item) {
  const auto shop = tests::shop_of(kHistories, 10);
  const SequenceDataset data(shop, {.context = 2, .from_newest = true});
  const Batch batch = data.collate(std::vector<SampleRef>{{70, 0, 0}, {71, 0, 2}, {72, 0, 1}});
  BOOST_TEST(values<std::int32_t>(batch, "ids") == (Ids{2, 3, 9, 3}));
  BOOST_TEST(values<std::int32_t>(batch, "positions") == (Ids{1, 0, 0, 0}));
  BOOST_TEST(values<std::int32_t>(batch, "slots") == (Ids{0, 1, 0, 0}));
  const auto asked = HeldOut(shop, Part::kTest, {3, -1, false, true}).collate(0, 3).batch;
  BOOST_TEST(values<std::int32_t>(asked, "positions") == (Ids{2, 1, 0, 1, 0, 2, 1, 0}));
  const std::vector<Ids> histories = {{1, 2, 3, 4}, {}, {5}};
  const Batch served = pack_histories(histories, {3, 10, false, true});
  BOOST_TEST(values<std::int32_t>(served, "ids") == (Ids{3, 4, 10, 5, 10}));
  BOOST_TEST(values<std::int32_t>(served, "positions") == (Ids{2, 1, 0, 1, 0}));
}

// Seconds, rounded down; what comes next is asked for at the time of the event that follows, of a held-out one too.
BOOST_AUTO_TEST_CASE(times_go_with_their_events) {
  auto shop = std::make_shared<Interactions>(*tests::shop_of({{1, 2, 3, 4, 5, 6}, {3, 2}}, 10));
  Longs times_of_events;
  for (const std::int64_t second : {-2, 10, 20, 40, 80, 160, 7, 9}) times_of_events.push_back(second * 1'000'000 + 999'999);
  shop->time = times_of_events;
  const SequenceDataset data(shop, {.context = 2, .times = true});
  const Batch batch = data.collate(std::vector<SampleRef>{{70, 0, 0}, {71, 0, 1}});
  BOOST_TEST(values<std::int32_t>(batch, "ids") == (Ids{2, 3, 3}));
  BOOST_TEST(values<std::int64_t>(batch, "times") == (Longs{10, 20, 7}));
  BOOST_TEST(values<std::int64_t>(batch, "request_times") == (Longs{20, 40, 9}));
  const auto asked = HeldOut(shop, Part::kTest, {9, -1, true}).collate(0, 1).batch;
  BOOST_TEST(values<std::int64_t>(asked, "times") == (Longs{-2, 10, 20, 40, 80}));
  BOOST_TEST(values<std::int64_t>(asked, "request_times") == (Longs{10, 20, 40, 80, 160}));
  const std::vector<Ids> histories = {{1, 2, 3}, {}};
  const std::vector<HistoryTimes> times = {{.seconds = {1, 2, 4}, .request = 8}, {.seconds = {}, .request = 8}};
  const Batch served = pack_histories(histories, {2, -1, true}, {}, times);
  BOOST_TEST(values<std::int64_t>(served, "times") == (Longs{2, 4}));
  BOOST_TEST(values<std::int64_t>(served, "request_times") == (Longs{4, 8}));
  BOOST_TEST(!pack_histories(histories, 2).fields.contains("times"));
  BOOST_CHECK_THROW(SequenceDataset(tests::shop_of(kHistories, 10), {.context = 2, .times = true}), InternalError);
  BOOST_CHECK_THROW(pack_histories(histories, {2, -1, true}, {}, std::vector<HistoryTimes>(2)), InternalError);
}
