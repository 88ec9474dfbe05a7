// The CUDA kernels of candidate_loss on the executor: the list of cases that the CPU solves, in float32 with its tolerance, in
// bf16 with one of bf16, dense and sparse; what a kernel says of a wrong id; bits that do not depend on the order of anything.
#include "kernels/cuda/candidate_loss.h"
#include "tests/kernels/candidate_loss_case.h"
#include "tests/support/turns.h"

namespace tradewind::tests {
namespace {

double tolerance_of(DType dtype) { return dtype == DType::kBFloat16 ? 1e-2 : 5e-6; }

/// Both element types, each on a machine of its own; the sparse form every other time.
class OnSimt {
 public:
  void operator()(const std::string& what, const CandidateInputs& in, const CandidateLossOptions& options, Write write) {
    for (const DType dtype : {DType::kFloat32, DType::kBFloat16})
      turns_.next(what, [&](Place& place) {
        check_candidates(what, in, options, write, {.place = &place, .dtype = dtype, .sparse = ++turn_ % 4 < 2},
                         tolerance_of(dtype));
      });
  }

 private:
  Turns turns_;
  int turn_ = 0;
};

CandidateWay in_chunks(Place& place, DType dtype) {
  CandidateWay way{.place = &place, .dtype = dtype};
  way.call = [](float* loss, void* dx, float* dw, float* dbias, const kernels::CandidateBatch& b, Write write,
                const CandidateLossOptions& o, const kernels::Launch& launch) {
    kernels::detail::candidate_loss_cuda(loss, dx, dw, dbias, b, write, o, 1.0, launch, 1);  // 32 rows, the least
  };
  return way;
}

}  // namespace

BOOST_AUTO_TEST_CASE(losses_and_gradients_match_float64) { for_each_candidate_size(OnSimt()); }

BOOST_AUTO_TEST_CASE(every_loss_and_option_matches_float64) { for_each_candidate_option(OnSimt()); }

BOOST_AUTO_TEST_CASE(several_chunks_give_what_one_gives) {
  Turns turns;
  for (const Write write : {Write::kAssign, Write::kAccumulate})
    for (const DType dtype : {DType::kFloat32, DType::kBFloat16})
      turns.next("chunks", [&](Place& place) {
        check_candidates("chunks", candidate_inputs(75, 40, 8, 37, true, {.bias = true, .ignored = true}),
                         {.kind = CandidateLossKind::kSoftmax, .shared_negatives = true}, write, in_chunks(place, dtype),
                         tolerance_of(dtype));
      });
}

BOOST_AUTO_TEST_CASE(a_wrong_id_makes_its_row_nan_and_no_other) {
  CandidateInputs own = candidate_inputs(6, 40, 8, 5, false);
  const CandidateInputs good = own;
  own.targets[2] = 40, own.negatives[4 * 5 + 4] = -7;
  CandidateInputs shared = candidate_inputs(6, 40, 8, 5, true);
  shared.targets[2] = -1;
  Turns turns;
  turns.both("own", [&](Place& place) {
    const CandidateOutputs out = run_candidates(own, {.remove_hits = true}, Write::kAssign, {.place = &place});
    const CandidateOutputs want = run_candidates(good, {.remove_hits = true}, Write::kAssign);
    for (std::size_t n = 0; n < 6; ++n) {
      const bool bad = n == 2 || n == 4;
      BOOST_CHECK(bad ? std::isnan(out.loss[n]) : std::abs(out.loss[n] - want.loss[n]) < 1e-5F);
      BOOST_CHECK_EQUAL(std::isnan(out.dx[n * 8 + 7]), bad);
    }
    for (const float g : out.dw) BOOST_CHECK(!std::isnan(g));
  });
  turns.both("shared", [&](Place& place) {
    const CandidateLossOptions options{.kind = CandidateLossKind::kSoftmax, .shared_negatives = true};
    const CandidateOutputs out = run_candidates(shared, options, Write::kAssign, {.place = &place});
    for (std::size_t n = 0; n < 6; ++n) {
      BOOST_CHECK_EQUAL(std::isnan(out.loss[n]), n == 2);
      BOOST_CHECK_EQUAL(std::isnan(out.dx[n * 8]), n == 2);
    }
    CandidateInputs negative = shared;
    negative.targets[2] = 1, negative.negatives[3] = 41;
    for (const float loss : run_candidates(negative, options, Write::kAssign, {.place = &place}).loss)
      BOOST_CHECK(std::isnan(loss));
  });
}

BOOST_AUTO_TEST_CASE(extreme_logits_stay_finite_and_nan_shows) {
  Turns turns;
  for (const CandidateLossKind kind : {CandidateLossKind::kBce, CandidateLossKind::kBpr, CandidateLossKind::kSoftmax})
    for (const bool shared : {false, true})
      turns.next("extremes", [&](Place& place) {
        CandidateInputs in = candidate_inputs(4, 40, 2, 6, shared);
        for (auto& x : in.x) x *= 1e4F;
        const CandidateLossOptions options{.kind = kind, .shared_negatives = shared};
        const CandidateOutputs large = run_candidates(in, options, Write::kAssign, {.place = &place});
        for (const float value : large.loss) BOOST_CHECK(std::isfinite(value));
        for (const float value : large.dx) BOOST_CHECK(std::isfinite(value));
        in.x[0] = NAN;
        const CandidateOutputs broken = run_candidates(in, options, Write::kAssign, {.place = &place});
        BOOST_CHECK(std::isnan(broken.loss[0]) && std::isnan(broken.dx[0]));
        BOOST_CHECK(broken.loss[3] == large.loss[3]);
      });
}

BOOST_AUTO_TEST_CASE(evaluation_gives_the_bits_of_training) {
  Turns turns;
  for (const bool shared : {false, true})
    turns.both("evaluation", [&](Place& place) {
      const CandidateInputs in = candidate_inputs(20, 65, 33, 7, shared, {.ignored = true});
      const CandidateLossOptions options{.kind = CandidateLossKind::kSoftmax, .shared_negatives = shared};
      CandidateWay evaluation{.place = &place};
      evaluation.call = [](float* loss, void*, float*, float*, const kernels::CandidateBatch& b, Write write,
                           const CandidateLossOptions& o, kernels::Launch launch) {
        launch.step = nullptr;
        kernels::candidate_loss(loss, nullptr, nullptr, nullptr, b, write, o, launch);
      };
      BOOST_CHECK(run_candidates(in, options, Write::kAssign, evaluation).loss ==
                  run_candidates(in, options, Write::kAssign, {.place = &place}).loss);
    });
}

BOOST_AUTO_TEST_CASE(the_same_bits_whatever_the_order) {
  for (const bool shared : {false, true}) {
    const CandidateInputs in = candidate_inputs(50, 30, 16, 9, shared, {.ignored = true});
    std::vector<CandidateOutputs> runs;
    Turns turns;
    for (int i = 0; i < 4; ++i)
      turns.next("order", [&](Place& place) {
        runs.push_back(run_candidates(in, {.shared_negatives = shared}, Write::kAssign, {.place = &place}));
      });
    BOOST_REQUIRE_EQUAL(runs.size(), 4U);
    for (const CandidateOutputs& o : runs)
      BOOST_CHECK(o.loss == runs[0].loss && o.dx == runs[0].dx && o.dw == runs[0].dw && o.dbias == runs[0].dbias);
  }
}

}  // namespace tradewind::tests
