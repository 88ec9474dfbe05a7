// Training with sparse gradients of the item table by the trainer itself: what it is beside dense ones, and that a run that
// stopped goes on with the same bits.
#include <boost/test/unit_test.hpp>

#include "tests/support/oracle.h"
#include "tests/support/sparse_training.h"

namespace tradewind::tests {

// Both rules leave rows without a gradient alone, so the whole training is the same to rounding: losses, norms over all
// parameters, clipped updates, micro-batches.
BOOST_AUTO_TEST_CASE(sgd_and_adagrad_train_as_with_dense_gradients) {
  for (const char* optimizer : {"sgd", "adagrad"}) {
    const Trained dense = train(SparseTraining{.sparse = false, .optimizer = optimizer});
    const Trained sparse = train(SparseTraining{.optimizer = optimizer});
    BOOST_CHECK_GT(dense.norms.front(), 0.5);  // clipped
    BOOST_CHECK_LT(dense.losses.back(), dense.losses.front());
    check_trained(optimizer, sparse, dense, 2e-5);
    check_trained(std::string(optimizer) + " at once", train(SparseTraining{.optimizer = optimizer, .micro_batch = 0}), dense,
                  2e-5);
  }
}

// It learns, by another path than dense Adam, which moves all rows in every step.
BOOST_AUTO_TEST_CASE(adam_is_lazy) {
  const Trained dense = train(SparseTraining{.sparse = false, .optimizer = "adam", .steps = 1});
  const Trained sparse = train(SparseTraining{.optimizer = "adam", .steps = 1});
  check_close("first loss", sparse.losses, dense.losses, 1e-6);
  check_close("first norm", sparse.norms, dense.norms, 1e-5);
  const Trained more = train(SparseTraining{.optimizer = "adam"}),
                dense_more = train(SparseTraining{.sparse = false, .optimizer = "adam"});
  BOOST_CHECK_LT(more.losses.back(), more.losses.front());
  BOOST_CHECK(relative_error(more.parameters[0], dense_more.parameters[0]) > 1e-3);
}

BOOST_AUTO_TEST_CASE(a_run_that_stopped_goes_on_with_the_same_bits) {
  for (const auto& [optimizer, rowwise] : {std::pair{"adam", false}, {"adagrad", false}, {"adagrad", true}, {"sgd", false}}) {
    SparseTraining t{.optimizer = optimizer, .rowwise = rowwise};
    const Trained whole = train(t);
    const TemporaryFolder folder;
    t.stop_after = 5;
    train(t, folder.path());
    t.stop_after = 0;
    const Trained resumed = train(t, folder.path());
    BOOST_CHECK_EQUAL(resumed.losses.size(), 7U);
    BOOST_TEST((resumed.parameters == whole.parameters), optimizer);
    BOOST_TEST((resumed.losses == std::vector<double>(whole.losses.begin() + 5, whole.losses.end())), optimizer);
  }
}

}  // namespace tradewind::tests
