#include "kernels/cpu/packed_gemm.h"

#include <array>
#include <atomic>
#include <cstring>

#include "kernels/base/parallel.h"
#include "tests/support/oracle.h"

using namespace tradewind::kernels;
using namespace tradewind::kernels::cpu;
using namespace tradewind::tests;

namespace {

struct Problem {
  std::int64_t M, N, K, lda, ldb, ldc;
  bool a_transposed, b_transposed;
  std::vector<float> a, b, bias, c;

  Problem(std::int64_t m, std::int64_t n, std::int64_t k, bool ta, bool tb, std::int64_t gap)
      : M(m), N(n), K(k), lda((ta ? m : k) + gap), ldb((tb ? k : n) + gap), ldc(n + gap), a_transposed(ta), b_transposed(tb) {
    // The last row ends with its last element: whoever reads behind it is seen by the address sanitizer.
    const auto size = [&](std::int64_t rows, std::int64_t columns, std::int64_t stride) {
      return static_cast<std::size_t>((rows - 1) * stride + columns);
    };
    a = random_values(ta ? size(k, m, lda) : size(m, k, lda), 1);
    b = random_values(tb ? size(n, k, ldb) : size(k, n, ldb), 2);
    bias = random_values(static_cast<std::size_t>(n), 3);
    c = random_values(size(m, n, ldc), 4);
  }
  double left(std::int64_t m, std::int64_t k) const { return a[a_transposed ? k * lda + m : m * lda + k]; }
  double right(std::int64_t k, std::int64_t n) const { return b[b_transposed ? n * ldb + k : k * ldb + n]; }

  std::vector<double> expected(bool with_bias, bool accumulate) const {
    std::vector<double> out(c.begin(), c.end());
    for (std::int64_t m = 0; m < M; ++m)
      for (std::int64_t n = 0; n < N; ++n) {
        double sum = (accumulate ? out[m * ldc + n] : 0.0) + (with_bias ? bias[n] : 0.0);
        for (std::int64_t k = 0; k < K; ++k) sum += left(m, k) * right(k, n);
        out[m * ldc + n] = sum;
      }
    return out;
  }

  /// `rows` of C and `panels` of the right factor a call.
  std::vector<float> run(bool with_bias, bool accumulate, std::int64_t rows, std::int64_t panels,
                         std::vector<float>* sums = nullptr) const {
    Launch launch;
    const ScratchArray<float> packed(launch, static_cast<std::size_t>(packed_elements(K, N)));
    const ScratchArray<float> left_data(launch, static_cast<std::size_t>(left_elements(K)));
    const PackedFactor factor{.data = packed.get(), .K = K, .N = N};
    const std::int64_t all = packed_panels(N);
    for (std::int64_t p = 0; p < all; p += 2) pack_panels(factor, {b.data(), ldb, b_transposed}, p, std::min(all, p + 2));
    std::vector<float> out = c;
    for (std::int64_t m = 0; m < M; m += rows)
      for (std::int64_t p = 0; p < all; p += panels)
        multiply_packed(out.data() + m * ldc, ldc, {a.data() + (a_transposed ? m : m * lda), lda, a_transposed}, factor,
                        with_bias ? bias.data() : nullptr, std::min(rows, M - m), p, std::min(all, p + panels),
                        accumulate ? Write::kAccumulate : Write::kAssign,
                        {.data = left_data.get(), .sums = sums != nullptr && p == 0 ? sums->data() + m : nullptr});
    return out;
  }
};

bool same_bits(const std::vector<float>& a, const std::vector<float>& b) {
  return a.size() == b.size() && std::memcmp(a.data(), b.data(), a.size() * sizeof(float)) == 0;
}

}  // namespace

BOOST_AUTO_TEST_CASE(product_matches_float64_for_every_orientation_and_tail) {
  const std::array<std::int64_t, 3> shapes[] = {{1, 1, 1},    {1, 16, 9},    {5, 17, 3},    {6, 16, 320},  {7, 33, 321},
                                                {13, 65, 64}, {23, 31, 640}, {96, 48, 100}, {97, 15, 700}, {200, 130, 129}};
  for (const auto& [M, N, K] : shapes)
    for (const bool ta : {false, true})
      for (const bool tb : {false, true})
        for (const std::int64_t gap : {0, 3})
          for (const bool accumulate : {false, true}) {
            const Problem problem(M, N, K, ta, tb, gap);
            check_close("M " + std::to_string(M) + " N " + std::to_string(N) + " K " + std::to_string(K) + (ta ? " A^T" : "") +
                            (tb ? " B^T" : ""),
                        problem.run(accumulate, accumulate, M, packed_panels(N)), problem.expected(accumulate, accumulate),
                        3e-6);
          }
}

BOOST_AUTO_TEST_CASE(bits_do_not_depend_on_the_split) {
  for (const bool ta : {false, true}) {
    const Problem problem(101, 77, 650, ta, false, 1);
    const auto whole = problem.run(true, true, 101, packed_panels(77));
    for (const std::int64_t rows : {1, 5, 6, 12, 50, 96})
      BOOST_CHECK_MESSAGE(same_bits(whole, problem.run(true, true, rows, 1)), "rows a call: " << rows << ", A^T: " << ta);
  }
}

BOOST_AUTO_TEST_CASE(column_sums_come_with_the_transposed_factor) {
  for (const std::int64_t M : {1, 6, 8, 13, 100})
    for (const std::int64_t K : {1, 2, 63, 65, 700}) {
      const Problem problem(M, 9, K, true, false, 2);
      std::vector<float> sums = random_values(static_cast<std::size_t>(M), 7);
      std::vector<double> expected(sums.begin(), sums.end());
      for (std::int64_t m = 0; m < M; ++m)
        for (std::int64_t k = 0; k < K; ++k) expected[m] += problem.left(m, k);
      problem.run(false, false, 12, 1, &sums);
      check_close("sums of " + std::to_string(M) + " columns of " + std::to_string(K), sums, expected, 1e-5);
    }
}

BOOST_AUTO_TEST_CASE(work_queue_hands_out_every_piece_once) {
  for (const std::int64_t count : {0, 1, 11, 12, 13, 768, 1000})
    for (const int threads : {1, 2, 3}) {
      std::vector<std::atomic<int>> taken(static_cast<std::size_t>(count));
      WorkQueue queue(count, 12, 96, threads);
      std::atomic<bool> aligned{true};
      parallel_team(threads, [&](int, int, auto meet) {
        meet();
        for (Share piece = queue.take(); piece.begin < piece.end; piece = queue.take()) {
          if (piece.begin % 12 != 0 || piece.end - piece.begin > 96 || (piece.end % 12 != 0 && piece.end != count))
            aligned = false;
          for (std::int64_t i = piece.begin; i < piece.end; ++i) ++taken[static_cast<std::size_t>(i)];
        }
      });
      BOOST_CHECK(aligned.load());
      for (const auto& times : taken) BOOST_REQUIRE_EQUAL(times.load(), 1);
    }
}
