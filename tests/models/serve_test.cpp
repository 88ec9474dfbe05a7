// What a recommender answers, of vectors as a GPU has them and of damaged ones.
#include "models/recommend/serve.h"

#include <boost/test/unit_test.hpp>
#include <cmath>

#include "kernels/base/bfloat16.h"
#include "tests/support/throws.h"

namespace tradewind::tests {
namespace {

using namespace runtime;  // NOLINT
using Ids = std::vector<std::int32_t>;

constexpr std::int32_t kItems = 4;

/// Every query is (1, 2) and item i is (i, 1), in `dtype`; bias, where it has one: 10 i.
class Given final : public models::Recommender {
 public:
  explicit Given(DType dtype, bool biased = false) : dtype_(dtype), biased_(biased) {}
  ParameterStore& parameters() override { return store_; }
  RowLosses forward(Tape&, const Batch&) override { return {}; }
  CostEstimate cost() const override { return {}; }
  std::int64_t items() const override { return kItems; }
  Tensor queries(Context&, const Batch& batch) override {
    return filled({batch["offsets"].elements() - 1, 2},
                  [](std::int64_t, std::int64_t c) { return 1.0F + static_cast<float>(c); });
  }
  Tensor item_vectors(Context&) override {
    return filled({kItems, 2}, [this](std::int64_t i, std::int64_t c) {
      return c == 1 ? 1.0F : i == damaged ? NAN : static_cast<float>(i);
    });
  }
  Tensor item_bias() override {
    if (!biased_) return {};
    return filled({kItems}, [](std::int64_t i, std::int64_t) { return 10.0F * static_cast<float>(i); });
  }
  std::int64_t damaged = -1;

 private:
  template <class Value>
  Tensor filled(const Shape& shape, const Value& value) const {
    Tensor out(host_allocator(), shape, dtype_);
    const std::int64_t width = shape.rank() == 2 ? shape[1] : 1;
    for (std::int64_t i = 0; i < out.elements(); ++i) {
      const float x = value(i / width, i % width);
      if (dtype_ == DType::kFloat32)
        out.data<float>()[i] = x;
      else
        static_cast<std::uint16_t*>(out.raw())[i] = kernels::bfloat16_bits(x);
    }
    return out;
  }
  ParameterStore store_;
  DType dtype_;
  bool biased_;
};

std::vector<float> scores_of(Given& model, const std::vector<models::Pair>& pairs) {
  Context context({}, 1, 1);
  const std::vector<Ids> histories = {{1}, {2}};
  return models::score_pairs(context, model, {.histories = histories, .users = {}}, pairs, 2);
}

}  // namespace

BOOST_AUTO_TEST_CASE(pairs_have_scores_whatever_type_the_vectors_are_of) {
  for (const DType dtype : {DType::kFloat32, DType::kBFloat16})
    for (const bool biased : {false, true}) {
      Given model(dtype, biased);
      const float by = biased ? 11 : 1;
      BOOST_TEST((scores_of(model, {{0, 3}, {1, 0}, {1, 2}}) == std::vector<float>{2 + 3 * by, 2, 2 + 2 * by}));
    }
}

BOOST_AUTO_TEST_CASE(items_are_like_each_other_whatever_type_the_vectors_are_of) {
  Context context({}, 1, 1);
  for (const DType dtype : {DType::kFloat32, DType::kBFloat16}) {
    Given model(dtype);
    const auto like = models::similar_items(context, model, 3, 10);
    BOOST_REQUIRE_EQUAL(like.items.size(), 3U);
    for (std::int32_t rank = 0; rank < 3; ++rank) {
      const auto& [item, cosine] = like.items[static_cast<std::size_t>(rank)];
      BOOST_CHECK_EQUAL(item, 2 - rank);
      const double i = item;
      BOOST_CHECK_SMALL(cosine - (3 * i + 1) / std::sqrt(10 * (i * i + 1)), 1e-6);
    }
    BOOST_CHECK_EQUAL(like.name, "cosine");
  }
}

BOOST_AUTO_TEST_CASE(a_score_that_is_no_number_is_not_answered_with) {
  Given model(DType::kFloat32);
  model.damaged = 2;
  BOOST_CHECK_EQUAL(scores_of(model, {{0, 1}})[0], 3);
  check_throws<DataError>([&] { scores_of(model, {{0, 1}, {1, 2}}); }, {"scoring pairs", "not a number"});
}

}  // namespace tradewind::tests
