#include "runtime/core/tensor.h"

#include "tests/support/oracle.h"

namespace tradewind::tests {
namespace {

using runtime::DType;
using runtime::Shape;
using runtime::Tensor;

BOOST_AUTO_TEST_CASE(shapes_count_and_print) {
  BOOST_CHECK_EQUAL(Shape({}).elements(), 1);
  BOOST_CHECK_EQUAL(Shape({3, 0, 5}).elements(), 0);
  BOOST_CHECK_EQUAL(Shape({2, 3, 4}).elements(), 24);
  BOOST_CHECK_EQUAL(Shape({2, 3, 4})[-1], 4);
  BOOST_CHECK_EQUAL(Shape({2, 3}).text(), "[2, 3]");
  BOOST_CHECK(Shape({2, 3}) != Shape({2, 3, 1}));
  BOOST_CHECK_THROW(Shape({1, 1, 1, 1, 1, 1}), InternalError);
  BOOST_CHECK_THROW(Shape({-1}), InternalError);
}

BOOST_AUTO_TEST_CASE(copies_and_views_share_the_data) {
  const Tensor a(runtime::host_allocator(), {4, 6}, DType::kFloat32);
  a.fill(1);
  const Tensor row = a.view(6, {6});
  row.fill(2);
  const Tensor flat = a.reshape({24});
  BOOST_CHECK_EQUAL(flat.data<float>()[5], 1);
  BOOST_CHECK_EQUAL(flat.data<float>()[6], 2);
  BOOST_CHECK_EQUAL(flat.data<float>()[12], 1);
  BOOST_CHECK_EQUAL(row.view(2, {2, 2}).raw(), static_cast<void*>(a.data<float>() + 8));
  BOOST_CHECK(!a.unique());
}

BOOST_AUTO_TEST_CASE(what_does_not_fit_is_an_error) {
  const Tensor a(runtime::host_allocator(), {4, 6}, DType::kFloat32);
  BOOST_CHECK_THROW(a.reshape({5, 5}), InternalError);
  BOOST_CHECK_THROW(a.view(20, {5}), InternalError);
  BOOST_CHECK_THROW(a.view(-1, {2}), InternalError);
  BOOST_CHECK_THROW(a.data<double>(), InternalError);
}

BOOST_AUTO_TEST_CASE(storage_goes_back_with_its_last_tensor) {
  const auto allocator = runtime::make_cpu_allocator();
  {
    Tensor view;
    {
      const Tensor a(*allocator, {1000}, DType::kFloat32);
      view = a.view(10, {5});
    }
    BOOST_CHECK_GE(allocator->bytes_in_use(), 4000U);
    BOOST_CHECK(view.unique());
  }
  BOOST_CHECK_EQUAL(allocator->bytes_in_use(), 0U);
}

}  // namespace
}  // namespace tradewind::tests
