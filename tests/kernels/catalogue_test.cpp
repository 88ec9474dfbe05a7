#include "kernels/catalogue.h"

#include "kernels/base/error.h"
#include "tests/kernels/catalogue_case.h"
#include "tests/support/targets.h"
#include "tests/support/throws.h"

namespace tradewind::tests {
namespace {

BOOST_AUTO_TEST_CASE(best_items_and_ranks_match_float64) {
  on_every_target([](const std::string& target) {
    for_each_catalogue([&](const std::string& what, const CatalogueProblem& p) {
      for (const int threads : {1, 2, 3})
        check_catalogue(std::string(target).append(" ").append(what), p, {.threads = threads});
    });
  });
}

// Several strips and blocks, several parts of the packed table (more than 8 MiB), and more than one block of depth.
BOOST_AUTO_TEST_CASE(large_catalogues_match_float64) {
  check_catalogue("blocks", catalogue_problem(500, 1500, 5, true), {.threads = 2});
  check_catalogue("packed parts", catalogue_problem(3, 9000, 300, true), {.threads = 3});
  check_catalogue("depth", catalogue_problem(99, 600, 700, true), {.threads = 2});
  check_catalogue("given", with_given_scores(catalogue_problem(150, 1500, 5, true)), {.threads = 3});
}

BOOST_AUTO_TEST_CASE(a_target_ranks_where_the_best_k_have_it) {
  on_every_target([](const std::string& target) {
    for (const bool extras : {false, true}) {
      check_ranks_are_places(target + " wide", catalogue_problem(3, 700, 65, extras, false), {});
      check_ranks_are_places(target + " deep", catalogue_problem(2, 90, 400, extras, false), {});
      check_ranks_are_places(target + " many", catalogue_problem(300, 40, 33, extras, false), {});
    }
  });
}

BOOST_AUTO_TEST_CASE(results_do_not_depend_on_threads_or_on_the_batch) {
  const CatalogueProblem p = catalogue_problem(300, 1200, 33, true, false);
  const BestK best = best_k(p, 20, {.threads = 1});
  const Ranks rank = ranks(p, {.threads = 1});
  for (const int threads : {2, 3, 7}) {
    const BestK other = best_k(p, 20, {.threads = threads});
    const Ranks other_rank = ranks(p, {.threads = threads});
    BOOST_CHECK(other.ids == best.ids && other.scores == best.scores);
    BOOST_CHECK(other_rank.greater == rank.greater && other_rank.equal == rank.equal);
  }
  for (const std::int64_t n : {0, 97, 299}) {
    CatalogueProblem one = p;
    one.N = 1;
    one.x.assign(p.x.begin() + n * p.C, p.x.begin() + (n + 1) * p.C);
    one.exclude.assign(p.exclude.begin() + p.exclude_offsets[n], p.exclude.begin() + p.exclude_offsets[n + 1]);
    one.exclude_offsets = {0, static_cast<std::int64_t>(one.exclude.size())};
    const BestK alone = best_k(one, 20);
    BOOST_CHECK(std::equal(alone.ids.begin(), alone.ids.end(), best.ids.begin() + n * 20));
    BOOST_CHECK(std::equal(alone.scores.begin(), alone.scores.end(), best.scores.begin() + n * 20));
  }
}

BOOST_AUTO_TEST_CASE(a_constant_scorer_ranks_every_target_in_the_middle) {
  CatalogueProblem p = catalogue_problem(20, 101, 4, false);
  std::fill(p.w.begin(), p.w.end(), 0.0F);
  const Ranks got = ranks(p);
  for (std::size_t t = 0; t < p.targets.size(); ++t) BOOST_CHECK(got.greater[t] == 0 && got.equal[t] == 100);
}

BOOST_AUTO_TEST_CASE(fewer_candidates_than_k_leave_places_empty) {
  CatalogueProblem p = catalogue_problem(2, 5, 3, false);
  p.exclude = {0, 1, 2, 3, 4, 1, 2, 4};
  p.exclude_offsets = {0, 5, 8};
  const BestK got = best_k(p, 4);
  for (std::size_t i = 0; i < 8; ++i) BOOST_CHECK_EQUAL(got.ids[i] == -1, i != 4 && i != 5);
  for (std::size_t i = 0; i < 8; ++i) BOOST_CHECK_EQUAL(got.scores[i] == -INFINITY, i != 4 && i != 5);
}

BOOST_AUTO_TEST_CASE(infinite_scores_are_ranked_too) {
  CatalogueProblem p{.N = 1, .V = 4, .C = 1, .w_stride = 1, .x = {1}, .w = {0, -INFINITY, INFINITY, INFINITY}, .bias = {}};
  p.targets = {1, 3}, p.target_offsets = {0, 2};
  const BestK got = best_k(p, 4);
  BOOST_CHECK((got.ids == std::vector<std::int32_t>{2, 3, 0, 1}));
  const Ranks rank = ranks(p);
  BOOST_CHECK((rank.greater == std::vector<std::int32_t>{3, 0} && rank.equal == std::vector<std::int32_t>{0, 1}));
}

BOOST_AUTO_TEST_CASE(nan_is_never_a_rank) {
  CatalogueProblem p = catalogue_problem(300, 1200, 6, true);
  p.x[200 * p.C + 5] = NAN;
  const std::vector<std::string> where = {"query 200", "NaN"};
  check_throws<DataError>([&] { best_k(p, 3); }, where);
  check_throws<DataError>([&] { ranks(p); }, where);
  CatalogueProblem item = catalogue_problem(300, 1200, 6, false);
  item.w[1111 * item.w_stride] = NAN;
  for (auto& x : item.x) x += x == 0;
  check_throws<DataError>([&] { best_k(item, 3, {.threads = 3}); }, {"query 0 and item 1111"});
  check_throws<DataError>([&] { ranks(item, {.threads = 3}); }, {"query 0 and item 1111"});
  // Nobody is ranked by an item that is no candidate.
  item.allow.assign(1200, 1);
  item.allow[1111] = 0;
  BOOST_CHECK(std::find(item.targets.begin(), item.targets.end(), 1111) == item.targets.end());
  CatalogueProblem without = item;
  std::fill_n(without.w.begin() + 1111 * without.w_stride, 6, 0.0F);
  BOOST_CHECK(best_k(item, 3).ids == best_k(without, 3).ids && ranks(item).greater == ranks(without).greater);
  item.targets[0] = 1111;  // but by its own score
  check_throws<DataError>([&] { ranks(item); }, {"query 0 and item 1111"});
}

BOOST_AUTO_TEST_CASE(scores_are_optional) {
  const CatalogueProblem p = catalogue_problem(5, 30, 4, true);
  CatalogueWay way;
  way.top_k = [](std::int32_t* ids, float*, auto... arguments) { kernels::catalogue_top_k(ids, nullptr, arguments...); };
  BOOST_CHECK(best_k(p, 3, way).ids == best_k(p, 3).ids);
}

BOOST_AUTO_TEST_CASE(bad_arguments_throw) {
  const CatalogueProblem good = catalogue_problem(4, 6, 3, true);
  CatalogueProblem p = good;
  p.exclude[1] = 6;
  check_throws<DataError>([&] { best_k(p, 2); }, {"excluded id 6 of query 0", "6 items", "vocabulary"});
  p.exclude[1] = -1;
  check_throws<DataError>([&] { ranks(p); }, {"excluded id -1 of query 0"});
  p = good;
  p.exclude = {3, 2}, p.exclude_offsets = {0, 0, 2, 2, 2};
  check_throws<DataError>([&] { best_k(p, 2); }, {"query 1", "not ascending (2 after 3)", "sort"});
  p = good;
  p.targets[0] = 6;
  check_throws<DataError>([&] { ranks(p); }, {"target 6 of query 0"});
  p = good;
  ++p.target_offsets.back();
  BOOST_CHECK_THROW(ranks(p), InternalError);
  BOOST_CHECK_THROW(best_k(good, 0), InternalError);
  BOOST_CHECK_THROW(best_k(good, 7), InternalError);
  BOOST_CHECK_THROW(best_k(good, 2, {.threads = 0}), InternalError);
  BOOST_CHECK_THROW(best_k(good, 2, {.dtype = DType::kBFloat16}), DeviceError);
  p = with_given_scores(good);
  p.given[7] = NAN;
  check_throws<DataError>([&] { best_k(p, 6); }, {"query 1 and item 1", "NaN"});
  p = with_given_scores(good);
  p.x = good.x;  // neither the one nor the other
  BOOST_CHECK_THROW(best_k(p, 2), InternalError);
  p = good;
  p.w_stride = 2;
  BOOST_CHECK_THROW(best_k(p, 2), InternalError);
}

}  // namespace
}  // namespace tradewind::tests
