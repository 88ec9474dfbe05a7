// The CUDA kernels of catalogue scoring on the executor: the list of cases that the CPU solves, in both element types; chunks
// of queries; what a kernel says of a NaN; bits that do not depend on the order of anything.
#include "kernels/cuda/catalogue.h"
#include "tests/kernels/catalogue_case.h"
#include "tests/support/turns.h"

namespace tradewind::tests {
namespace {

const std::int64_t kChunk = 1;  // bytes: 32 queries, the least

CatalogueWay in_chunks(Place& place, DType dtype = DType::kFloat32) {
  CatalogueWay way{.place = &place, .dtype = dtype};
  way.top_k = [](auto... arguments) { kernels::detail::catalogue_top_k_cuda(arguments..., kChunk); };
  way.rank = [](auto... arguments) { kernels::detail::catalogue_rank_cuda(arguments..., kChunk); };
  return way;
}

}  // namespace

BOOST_AUTO_TEST_CASE(best_items_and_ranks_match_float64) {
  Turns turns;
  for_each_catalogue([&](const std::string& what, const CatalogueProblem& p) {
    for (const DType dtype : {DType::kFloat32, DType::kBFloat16})
      turns.next(what, [&](Place& place) { check_catalogue(what, p, {.place = &place, .dtype = dtype}); });
  });
}

BOOST_AUTO_TEST_CASE(several_chunks_give_what_one_gives) {
  Turns turns;
  for (const DType dtype : {DType::kFloat32, DType::kBFloat16})
    turns.both("chunks",
               [&](Place& place) { check_catalogue("chunks", catalogue_problem(70, 60, 8, true), in_chunks(place, dtype)); });
}

BOOST_AUTO_TEST_CASE(a_target_ranks_where_the_best_k_have_it) {
  Turns turns;
  for (const bool extras : {false, true}) {
    turns.next("wide", [&](Place& place) {
      check_ranks_are_places("wide", catalogue_problem(2, 300, 17, extras, false), {.place = &place});
    });
    turns.next("many", [&](Place& place) {
      check_ranks_are_places("many", catalogue_problem(40, 12, 9, extras, false), in_chunks(place));
    });
  }
}

BOOST_AUTO_TEST_CASE(a_constant_scorer_ranks_every_target_in_the_middle) {
  CatalogueProblem p = catalogue_problem(6, 301, 4, false);
  std::fill(p.w.begin(), p.w.end(), 0.0F);
  for (std::size_t i = 0; i < p.x.size(); i += 2) p.x[i] = -1;  // zeros of both signs
  Turns turns;
  turns.both("constant", [&](Place& place) {
    const Ranks got = ranks(p, {.place = &place});
    for (std::size_t t = 0; t < p.targets.size(); ++t) BOOST_CHECK(got.greater[t] == 0 && got.equal[t] == 300);
  });
}

BOOST_AUTO_TEST_CASE(infinite_scores_are_ranked_too) {
  CatalogueProblem p{.N = 1, .V = 4, .C = 1, .w_stride = 1, .x = {1}, .w = {0, -INFINITY, INFINITY, INFINITY}, .bias = {}};
  p.targets = {1, 3}, p.target_offsets = {0, 2};
  p.exclude = {0}, p.exclude_offsets = {0, 1};
  Turns turns;
  turns.both("infinite", [&](Place& place) {
    const BestK got = best_k(p, 4, {.place = &place});
    BOOST_CHECK((got.ids == std::vector<std::int32_t>{2, 3, 1, -1}));
    BOOST_CHECK(got.scores[2] == -INFINITY && got.scores[3] == -INFINITY);
    const Ranks rank = ranks(p, {.place = &place});
    BOOST_CHECK((rank.greater == std::vector<std::int32_t>{2, 0} && rank.equal == std::vector<std::int32_t>{0, 1}));
  });
}

BOOST_AUTO_TEST_CASE(a_nan_marks_its_query_and_no_other) {
  CatalogueProblem p = catalogue_problem(40, 300, 6, true);
  p.x[6 * p.C + 5] = NAN;
  const Ranks want = ranks_oracle(p);
  CatalogueProblem hidden = catalogue_problem(5, 30, 6, false);  // an item that is no candidate
  hidden.w[11 * hidden.w_stride] = NAN;
  hidden.allow.assign(30, 1);
  hidden.allow[11] = 0;
  for (std::int32_t& target : hidden.targets) target = target == 11 ? 12 : target;
  Turns turns;
  turns.both("nan", [&](Place& place) {
    const BestK got = best_k(p, 3, {.place = &place});
    for (std::int64_t i = 0; i < 40 * 3; ++i) {
      BOOST_CHECK_EQUAL(std::isnan(got.scores[i]), i / 3 == 6);
      BOOST_CHECK_EQUAL(got.ids[i] == -1, i / 3 == 6);
    }
    const Ranks rank = ranks(p, {.place = &place});
    for (std::int64_t n = 0; n < 40; ++n)
      for (std::int64_t t = p.target_offsets[n]; t < p.target_offsets[n + 1]; ++t) {
        BOOST_CHECK_EQUAL(rank.greater[t], n == 6 ? 300 : want.greater[t]);
        BOOST_CHECK_EQUAL(rank.equal[t], n == 6 ? 0 : want.equal[t]);
      }
    BOOST_CHECK(best_k(hidden, 4, {.place = &place}).ids == best_k(hidden, 4).ids);
    BOOST_CHECK(ranks(hidden, {.place = &place}).greater == ranks(hidden).greater);
  });
}

// A kernel cannot throw.
BOOST_AUTO_TEST_CASE(bad_ids_exclude_nothing_and_rank_last) {
  CatalogueProblem p = catalogue_problem(3, 20, 4, false);
  const BestK want = best_k(p, 5);
  p.exclude = {-1, 20, 1000000}, p.exclude_offsets = {0, 2, 2, 3};
  p.targets = {20, -1, 3}, p.target_offsets = {0, 1, 2, 3};
  Turns turns;
  turns.both("ids", [&](Place& place) {
    BOOST_CHECK(best_k(p, 5, {.place = &place}).ids == want.ids);
    const Ranks rank = ranks(p, {.place = &place});
    BOOST_CHECK(rank.greater[0] == 20 && rank.equal[0] == 0 && rank.greater[1] == 20 && rank.greater[2] < 20);
  });
}

}  // namespace tradewind::tests
