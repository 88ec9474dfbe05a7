// Embedding bags: problems, their float64 oracle, and the list that every executor must solve: the CPU (embedding_bag_test.cpp)
// and the CUDA kernels on the executor of tests/simt.
#pragma once

#include <algorithm>
#include <boost/test/unit_test.hpp>
#include <cmath>
#include <cstring>
#include <sstream>
#include <string>
#include <vector>

#include "kernels/embedding_bag.h"
#include "tests/support/device_place.h"
#include "tests/support/oracle.h"

namespace tradewind::tests {

using kernels::BagMode;
using kernels::DType;
using kernels::RowUpdateKind;
using kernels::RowUpdateOptions;
using kernels::Write;
using std::int64_t;

inline std::size_t size(int64_t n) { return static_cast<std::size_t>(n); }

/// A problem with its data. Samples of out and dout stand further apart than they need to, so that a kernel that ignores the
/// stride is seen.
struct BagCase {
  std::vector<int64_t> tables;  // rows of each
  int64_t B = 5, C = 8;
  BagMode mode = BagMode::kSum;
  bool weighted = false;
  int64_t mean_length = 7;  // of a bag
  int64_t padding = 8;      // of the stride
  DType dtype = DType::kFloat32;
  int threads = 1;

  std::vector<int64_t> row_offsets{0}, bag_offsets{0};
  std::vector<std::int32_t> ids{};
  std::vector<float> weights{}, table{}, moment{}, dout{}, dweights{};

  int64_t table_count() const { return static_cast<int64_t>(tables.size()); }
  int64_t row_count() const { return row_offsets.back(); }
  int64_t id_count() const { return static_cast<int64_t>(ids.size()); }
  int64_t stride() const { return table_count() * C + padding; }

  /// `length` gives the ids of bag (t, b); without one, random bags of 0 to 2 mean_length ids, half of them in rows 0 to 3.
  void prepare(std::uint32_t seed) {
    std::mt19937 engine(seed);
    for (std::size_t t = 0; t < tables.size(); ++t) {
      row_offsets.push_back(row_offsets.back() + tables[t]);
      for (int64_t b = 0; b < B; ++b) {
        const int64_t length = tables[t] == 0 ? 0 : static_cast<int64_t>(engine() % size(2 * mean_length + 1));
        for (int64_t i = 0; i < length; ++i) {
          const auto rows = static_cast<std::uint32_t>(tables[t]);
          const std::uint32_t range = engine() % 2 == 0 ? 4U : rows;
          ids.push_back(static_cast<std::int32_t>(engine() % range % rows));
        }
        bag_offsets.push_back(id_count());
      }
    }
    fill(seed);
  }
  /// One bag a sample in one table; row r is looked up counts[r] times, its bags spread over the batch.
  void prepare_counts(const std::vector<int64_t>& counts, std::uint32_t seed) {
    tables = {static_cast<int64_t>(counts.size())};
    row_offsets.push_back(tables[0]);
    for (std::size_t r = 0; r < counts.size(); ++r) ids.insert(ids.end(), size(counts[r]), static_cast<std::int32_t>(r));
    std::mt19937 engine(seed);
    for (std::size_t i = ids.size(); i > 1; --i) std::swap(ids[i - 1], ids[engine() % i]);
    for (int64_t b = 0; b < B; ++b) bag_offsets.push_back(id_count() * (b + 1) / B);
    fill(seed);
  }

 private:
  void fill(std::uint32_t seed) {
    const auto rounded = [&](std::vector<float> x) {
      if (dtype == DType::kBFloat16)
        for (float& value : x) value = float_of_bfloat16(bfloat16_of(value));
      return x;
    };
    if (weighted) weights = random_values(ids.size(), seed + 1);
    table = rounded(random_values(size(row_count() * C), seed + 2));
    moment = random_values(size(row_count()), seed + 3);
    for (float& m : moment) m *= m;
    dout = rounded(random_values(size(B * stride()), seed + 4));
    dweights = random_values(ids.size(), seed + 5);
  }
};

inline std::string describe(const BagCase& c) {
  std::ostringstream text;
  text << "tables of";
  for (const int64_t rows : c.tables) text << ' ' << rows;
  text << ", B " << c.B << " C " << c.C << " N " << c.id_count() << " mode " << static_cast<int>(c.mode)
       << (c.weighted ? " weighted " : " ") << kernels::name_of(c.dtype) << " threads " << c.threads;
  return text.str();
}

struct BagOracle {
  std::vector<double> table, weights, out{}, dtable{}, dweights{};
  std::vector<std::int32_t> argmax{}, rows{};  // rows: those that were looked up, ascending
  std::vector<int64_t> begins{};

  explicit BagOracle(const BagCase& c) : table(widen(c.table)), weights(widen(c.weights)) { run(c); }

  /// body(out's place, first and last id of the bag, its table's first row) for every bag.
  template <class Body>
  static void for_bags(const BagCase& c, const Body& body) {
    for (int64_t t = 0; t < c.table_count(); ++t)
      for (int64_t b = 0; b < c.B; ++b) {
        const int64_t bag = t * c.B + b;
        body(b * c.stride() + t * c.C, (b * c.table_count() + t) * c.C, c.bag_offsets[size(bag)], c.bag_offsets[size(bag + 1)],
             c.row_offsets[size(t)]);
      }
  }
  double factor(const BagCase& c, int64_t n, int64_t begin, int64_t end) const {
    return (weights.empty() ? 1.0 : weights[size(n)]) / (c.mode == BagMode::kMean ? static_cast<double>(end - begin) : 1.0);
  }

  void run(const BagCase& c) {
    out.assign(size(c.B * c.stride()), NAN);
    argmax.assign(size(c.B * c.table_count() * c.C), -1);
    dtable.assign(table.size(), 0), dweights.assign(c.ids.size(), 0);
    std::vector<char> touched(size(c.row_count()), 0);
    for_bags(c, [&](int64_t at, int64_t packed, int64_t begin, int64_t end, int64_t first) {
      const auto row = [&](int64_t n) { return (first + c.ids[size(n)]) * c.C; };
      for (int64_t k = 0; k < c.C; ++k) {
        const double g = c.dout[size(at + k)];
        double sum = 0;
        int64_t best = -1;
        for (int64_t n = begin; n < end; ++n) {
          const double x = table[size(row(n) + k)];
          touched[size(first + c.ids[size(n)])] = 1;
          sum += factor(c, n, begin, end) * x;
          if (best < 0 || x > table[size(row(best) + k)]) best = n;
          if (c.mode == BagMode::kMax) continue;
          dtable[size(row(n) + k)] += factor(c, n, begin, end) * g;
          dweights[size(n)] += g * x / (c.mode == BagMode::kMean ? static_cast<double>(end - begin) : 1.0);
        }
        out[size(at + k)] = c.mode != BagMode::kMax ? sum : best < 0 ? 0 : table[size(row(best) + k)];
        if (c.mode != BagMode::kMax || best < 0) continue;
        argmax[size(packed + k)] = static_cast<std::int32_t>(best - begin);
        dtable[size(row(best) + k)] += g;
      }
    });
    for (int64_t t = 0; t < c.table_count(); ++t) {
      begins.push_back(static_cast<int64_t>(rows.size()));
      for (int64_t v = c.row_offsets[size(t)]; v < c.row_offsets[size(t + 1)]; ++v)
        if (touched[size(v)] != 0) rows.push_back(static_cast<std::int32_t>(v));
    }
    begins.push_back(static_cast<int64_t>(rows.size()));
  }
  double loss(const BagCase& c) {
    begins.clear(), rows.clear();
    run(c);
    double sum = 0;
    for (std::size_t i = 0; i < out.size(); ++i)
      if (!std::isnan(out[i])) sum += out[i] * c.dout[i];
    return sum;
  }
  std::vector<double> values(const BagCase& c) const {
    std::vector<double> of_rows;
    for (const std::int32_t row : rows)
      of_rows.insert(of_rows.end(), dtable.begin() + row * c.C, dtable.begin() + (row + 1) * c.C);
    return of_rows;
  }
  /// What an update leaves of table and moments.
  void update(const BagCase& c, const RowUpdateOptions& o, const kernels::StepState& step, std::vector<double>& moment) {
    for (const std::int32_t row : rows) {
      double rate = static_cast<double>(step.learning_rate) * o.rate, square = 0;
      double* x = &table[size(row * c.C)];
      const auto g = [&](int64_t k) { return dtable[size(row * c.C + k)] * step.gradient_scale; };
      if (o.kind == RowUpdateKind::kRowwiseAdagrad) {
        for (int64_t k = 0; k < c.C; ++k) square += g(k) * g(k);
        moment[size(row)] += square / static_cast<double>(c.C);
        rate /= std::sqrt(moment[size(row)]) + o.epsilon;
      }
      for (int64_t k = 0; k < c.C; ++k) x[k] -= rate * g(k);
    }
  }
};

/// The arrays of a case where it runs, and what came out.
class BagRun {
 public:
  /// place null: the CPU.
  BagRun(const BagCase& c, Place* place) : c_(c), place_(place) {
    if (place != nullptr) launch_ = place->launch();
    launch_.threads = c.threads;
    step_ = {.step = 3, .learning_rate = 0.3F, .gradient_scale = 0.7F};
    launch_.step = put(&step_, 1);
    shape_ = {.T = c.table_count(),
              .B = c.B,
              .C = c.C,
              .V = c.row_count(),
              .N = c.id_count(),
              .row_offsets = put(c.row_offsets.data(), c.row_offsets.size()),
              .bag_offsets = put(c.bag_offsets.data(), c.bag_offsets.size()),
              .ids = put(c.ids.data(), c.ids.size()),
              .stride = c.stride()};
    options_ = {.mode = c.mode, .weights = c.weighted ? put(c.weights.data(), c.weights.size()) : nullptr, .dtype = c.dtype};
    table_ = put_values(c.table), dout_ = put_values(c.dout);
  }
  ~BagRun() {
    for (void* p : owned_) place_->drop(p);
  }
  BagRun(const BagRun&) = delete;
  BagRun& operator=(const BagRun&) = delete;

  void forward() {
    out.assign(size(c_.B * c_.stride()), NAN);
    argmax.assign(size(c_.B * c_.table_count() * c_.C), -7);
    void* to = put_values(out);
    argmax_ = c_.mode == BagMode::kMax ? put(argmax.data(), argmax.size()) : nullptr;
    kernels::embedding_bag_forward(to, argmax_, table_, shape_, options_, launch_);
    get_values(out, to);
    if (argmax_ != nullptr) get(argmax, argmax_);
  }
  /// After forward.
  void backward(Write write, bool with_weights) {
    rows.assign(c_.ids.size(), -1), values.assign(c_.ids.size() * size(c_.C), NAN),
        begins.assign(size(c_.table_count() + 1), -1);
    dweights = c_.dweights;
    const kernels::BagGradient gradient{.rows = put(rows.data(), rows.size()),
                                        .values = put(values.data(), values.size()),
                                        .begins = put(begins.data(), begins.size())};
    float* to = with_weights ? put(dweights.data(), dweights.size()) : nullptr;
    kernels::embedding_bag_backward(gradient, to, dout_, table_, argmax_, shape_, options_, write, launch_);
    get(begins, gradient.begins), get(rows, gradient.rows), get(values, gradient.values);
    if (to != nullptr) get(dweights, to);
    rows_ = gradient.rows, values_ = gradient.values, begins_ = gradient.begins;
    BOOST_REQUIRE(begins.back() >= 0 && begins.back() <= c_.id_count());
    rows.resize(size(begins.back())), values.resize(size(begins.back() * c_.C));
  }
  /// Fused, or in two steps after backward. Each on a copy of the table.
  void update(const RowUpdateOptions& o, bool fused, bool with_weights = false) {
    table = c_.table, moment = c_.moment, dweights = c_.dweights;
    void* to = put_values(table);
    float* moments = o.kind == RowUpdateKind::kSgd ? nullptr : put(moment.data(), moment.size());
    if (fused) {
      float* of_weights = with_weights ? put(dweights.data(), dweights.size()) : nullptr;
      kernels::embedding_bag_update(to, moments, of_weights, dout_, argmax_, shape_, options_, Write::kAssign, o, launch_);
      if (of_weights != nullptr) get(dweights, of_weights);
    } else {
      kernels::row_update(to, moments, rows_, values_, begins_ + c_.table_count(), c_.id_count(), c_.row_count(), c_.C,
                          c_.dtype, o, launch_);
    }
    get_values(table, to);
    if (moments != nullptr) get(moment, moments);
  }

  std::vector<float> out{}, values{}, dweights{}, table{}, moment{};
  std::vector<std::int32_t> argmax{}, rows{};
  std::vector<int64_t> begins{};
  const kernels::StepState& step() const { return step_; }

 private:
  template <class T>
  T* put(const T* host, std::size_t count) {
    if (place_ == nullptr) return const_cast<T*>(host);
    if (count == 0) return nullptr;
    owned_.push_back(place_->put(host, count * sizeof(T)));
    return static_cast<T*>(owned_.back());
  }
  /// On the CPU a copy, which `kept_` holds.
  void* put_values(const std::vector<float>& x) {
    if (place_ == nullptr) {
      kept_.push_back(x);
      return kept_.back().data();
    }
    if (c_.dtype == DType::kFloat32) return put(x.data(), x.size());
    std::vector<std::uint16_t> half(x.size());
    std::transform(x.begin(), x.end(), half.begin(), bfloat16_of);
    return put(half.data(), half.size());
  }
  template <class T>
  void get(std::vector<T>& host, const T* device) {
    if (place_ != nullptr && !host.empty()) place_->get(host.data(), device, host.size() * sizeof(T));
  }
  void get_values(std::vector<float>& host, const void* device) {
    if (host.empty()) return;
    if (place_ == nullptr) {
      const auto* from = static_cast<const float*>(device);
      host.assign(from, from + host.size());
    } else if (c_.dtype == DType::kFloat32) {
      place_->get(host.data(), device, host.size() * sizeof(float));
    } else {
      std::vector<std::uint16_t> half(host.size());
      place_->get(half.data(), device, half.size() * 2);
      std::transform(half.begin(), half.end(), host.begin(), float_of_bfloat16);
    }
  }

  const BagCase& c_;
  Place* place_;
  kernels::Launch launch_{};
  kernels::StepState step_{};
  kernels::BagShape shape_{};
  kernels::BagOptions options_{};
  void *table_ = nullptr, *dout_ = nullptr;
  std::int32_t *argmax_ = nullptr, *rows_ = nullptr;
  float* values_ = nullptr;
  int64_t* begins_ = nullptr;
  std::vector<void*> owned_{};
  std::vector<std::vector<float>> kept_{};
};

/// Fails where a and b differ in length or in a bit (NaN is like NaN).
template <class T>
void check_same(const std::string& what, const std::vector<T>& a, const std::vector<T>& b) {
  BOOST_REQUIRE_MESSAGE(a.size() == b.size(), what << ": " << a.size() << " elements, expected " << b.size());
  const bool same = a.empty() || std::memcmp(a.data(), b.data(), a.size() * sizeof(T)) == 0;
  BOOST_CHECK_MESSAGE(same, what << ": other bits");
}

/// Solves the case there and checks everything that the contract says.
inline void check_case(const BagCase& c, Place* place) {
  const std::string what = describe(c);
  const double element = c.dtype == DType::kBFloat16 ? 4e-3 : 2e-6;  // of what is rounded to the dtype
  const BagOracle oracle(c);
  BagRun run(c, place);
  run.forward();
  std::vector<float> used;
  std::vector<double> expected;
  bool untouched = true;
  for (int64_t i = 0; i < c.B * c.stride(); ++i)
    if (i % c.stride() < c.table_count() * c.C)
      used.push_back(run.out[size(i)]), expected.push_back(oracle.out[size(i)]);
    else
      untouched = untouched && std::isnan(run.out[size(i)]);
  check_close(what + " out", used, expected, element);
  BOOST_CHECK_MESSAGE(untouched, what << ": wrote between the samples");
  if (c.mode == BagMode::kMax) check_same(what + " argmax", run.argmax, oracle.argmax);

  const bool with_weights = c.mode != BagMode::kMax;
  run.backward(Write::kAssign, with_weights);
  check_same(what + " begins", run.begins, oracle.begins);
  check_same(what + " rows", run.rows, oracle.rows);
  check_close(what + " values", run.values, oracle.values(c), 2e-6);
  if (with_weights) check_close(what + " dweights", run.dweights, oracle.dweights, 3e-6);
  const std::vector<float> dweights = run.dweights;
  for (const RowUpdateKind kind : {RowUpdateKind::kSgd, RowUpdateKind::kRowwiseAdagrad}) {
    const RowUpdateOptions options{.kind = kind, .epsilon = 1e-3F, .rate = 0.9F};
    BagOracle after = oracle;
    std::vector<double> moment = widen(c.moment);
    after.update(c, options, run.step(), moment);
    run.update(options, false);
    const std::vector<float> two_steps = run.table, two_steps_moment = run.moment;
    run.update(options, true, with_weights);
    check_close(what + " updated table", run.table, after.table, element);
    if (kind == RowUpdateKind::kRowwiseAdagrad) check_close(what + " moments", run.moment, moment, 3e-6);
    check_same(what + " fused and in two steps", run.table, two_steps);
    check_same(what + " moments fused and in two steps", run.moment, two_steps_moment);
    if (with_weights) check_same(what + " dweights of the table before", run.dweights, dweights);
  }
  if (!with_weights) return;
  run.backward(Write::kAccumulate, true);
  std::vector<double> sum = oracle.dweights;
  for (std::size_t n = 0; n < sum.size(); ++n) sum[n] += c.dweights[n];
  check_close(what + " dweights, accumulated", run.dweights, sum, 3e-6);
}

struct BagMethod {
  BagMode mode;
  bool weighted;
};
inline constexpr BagMethod kBagMethods[] = {
    {BagMode::kSum, false}, {BagMode::kSum, true}, {BagMode::kMean, false}, {BagMode::kMean, true}, {BagMode::kMax, false}};

/// Every mode, on several tables, one of them empty; channels of one lane, of all, of several vectors a lane, and uneven ones.
inline std::vector<BagCase> bag_cases(const std::vector<int64_t>& channels, DType dtype = DType::kFloat32) {
  std::vector<BagCase> cases;
  std::uint32_t seed = 1;
  for (const int64_t C : channels)
    for (const BagMethod& method : kBagMethods) {
      BagCase c{.tables = {3, 0, 40, 1}, .B = 6, .C = C, .mode = method.mode, .weighted = method.weighted, .dtype = dtype};
      c.prepare(seed++);
      cases.push_back(std::move(c));
    }
  return cases;
}

/// Hot rows: around the size of a chunk, several chunks, one next to the other, and rows that nobody looks up.
inline std::vector<BagCase> hot_cases(int64_t C, DType dtype = DType::kFloat32) {
  std::vector<BagCase> cases;
  std::uint32_t seed = 100;
  for (const std::vector<int64_t>& counts :
       {std::vector<int64_t>{127, 128, 129, 0, 1, 130}, {257, 1, 256, 1, 0}, {0, 700}, {1, 129, 129, 129, 1, 1}})
    for (const BagMethod& method : {kBagMethods[0], kBagMethods[3], kBagMethods[4]}) {
      BagCase c{.tables = {}, .B = 97, .C = C, .mode = method.mode, .weighted = method.weighted, .dtype = dtype};
      c.prepare_counts(counts, seed++);
      cases.push_back(std::move(c));
    }
  return cases;
}

/// No tables, no samples, no ids, no rows.
inline std::vector<BagCase> empty_bag_cases() {
  std::vector<BagCase> cases = {
      {.tables = {}}, {.tables = {4, 2}, .B = 0}, {.tables = {4, 2}, .mean_length = 0}, {.tables = {0, 0}}};
  for (BagCase& c : cases) c.prepare(7);
  return cases;
}

}  // namespace tradewind::tests
