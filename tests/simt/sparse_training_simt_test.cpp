// Sparse gradients on the executor, whole: the trainer trains a SASRec with negatives there as on the CPU.
#include "tests/simt/machine.h"
#include "tests/support/oracle.h"
#include "tests/support/sparse_training.h"

namespace tradewind::tests {

BOOST_AUTO_TEST_CASE(steps_of_the_trainer_are_those_of_the_cpu) {
  for (const auto& [optimizer, rowwise] : {std::pair{"adam", false}, {"adagrad", true}}) {
    SparseTraining t{.optimizer = optimizer, .rowwise = rowwise, .steps = 3, .micro_batch = 5};
    const Trained want = train(t);
    const simt::Machine machine({.seed = 7, .schedule = simt::Schedule::kWarpAhead});
    t.device = {.type = kernels::DeviceType::kCuda};
    check_trained(optimizer, train(t), want, 1e-4);
    BOOST_CHECK_EQUAL(machine.first_fault(), "");
  }
}

// The copy that lookups read follows the rows.
BOOST_AUTO_TEST_CASE(bfloat16_computes_with_the_updated_rows) {
  SparseTraining t{.optimizer = "adagrad", .steps = 4, .micro_batch = 0};
  const Trained want = train(t);
  const simt::Machine machine({.seed = 8});
  t.device = {.type = kernels::DeviceType::kCuda};
  t.compute = kernels::DType::kBFloat16;
  const Trained got = train(t);
  check_close("losses", got.losses, want.losses, 5e-2);
  BOOST_CHECK_EQUAL(machine.first_fault(), "");
}

}  // namespace tradewind::tests
