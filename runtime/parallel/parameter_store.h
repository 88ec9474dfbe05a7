// Parameters of a model in flat buffers.
//
// All parameters live in one float32 buffer, their gradients in another with the same layout (and, where the context computes
// in bfloat16, copies for that in a third): buckets in reverse order of registration (the order in which backward finishes
// them), ending at block boundaries, each parameter on a 64-byte boundary, each bucket padded to a multiple of kBucketAlignment
// elements for reduce-scatter. The layout is a pure function of the registrations, so it is the same on every rank. Clipping,
// optimiser, collectives and checkpoint work on ranges.
//
// A table may be registered with a sparse gradient: then it lies behind all buckets, the buffer of gradients ends before it,
// and what a step's ops have for it is a SparseGradient. Clipping, optimiser and ranks see only the rows that were used.
#pragma once

#include <cmath>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "kernels/optimizer.h"
#include "runtime/core/context.h"
#include "runtime/core/tensor.h"
#include "runtime/parallel/sparse_gradient.h"

namespace tradewind::runtime {

/// How a parameter starts. Random numbers are drawn by Philox keyed by (seed, name, index): the same on any rank count.
struct Init {
  enum class Kind : std::uint8_t { kConstant, kNormal, kUniform } kind = Kind::kConstant;
  float value = 0.0F;  // the constant, the standard deviation around 0, or the bound on both sides of 0
  static Init constant(float value) { return {Kind::kConstant, value}; }
  static Init normal(float deviation) { return {Kind::kNormal, deviation}; }
  static Init uniform(float bound) { return {Kind::kUniform, bound}; }
  /// Of a matrix [out, in] (Glorot & Bengio 2010, equation 16).
  static Init xavier_uniform(std::int64_t out, std::int64_t in) {
    return uniform(std::sqrt(6.0F / static_cast<float>(out + in)));
  }
  /// The same variance (equation 12).
  static Init xavier_normal(std::int64_t out, std::int64_t in) {
    return normal(std::sqrt(2.0F / static_cast<float>(out + in)));
  }
};

/// kSparse: rows and values, for a table [V, C] of which lookups and candidate losses use few rows in a step.
enum class GradientKind : std::uint8_t { kDense, kSparse };

class Parameter {
 public:
  Parameter(std::string name, Shape shape, Init init, bool decay, GradientKind kind = GradientKind::kDense)
      : name_(std::move(name)), shape_(shape), init_(init), decay_(decay) {
    if (kind == GradientKind::kSparse) sparse_.emplace(shape[0], shape[1]);
  }

  const std::string& name() const { return name_; }  // dotted: "blocks.3.attention.qkv.weight"
  const Shape& shape() const { return shape_; }
  const Init& init() const { return init_; }
  bool decay() const { return decay_; }          // weight decay applies: matrices and embeddings
  std::int64_t begin() const { return begin_; }  // element of the flat buffers
  std::int64_t end() const { return begin_ + shape_.elements(); }
  const Tensor& value() const { return value_; }
  /// What products and lookups read: the value itself, or its copy in the type that the context computes in.
  const Tensor& compute() const { return compute_; }
  /// Undefined where the gradient is sparse.
  const Tensor& gradient() const { return gradient_; }

  bool sparse() const { return sparse_.has_value(); }
  /// Of a parameter whose gradient is sparse; merged once the store's finish_gradients() was called.
  SparseGradient& sparse_gradient() { return *sparse_; }
  const SparseGradient& sparse_gradient() const { return *sparse_; }
  /// What an op adds to a sparse gradient, as SparseGradient::add. Marks the touch.
  void add_rows(Context& context, const Tensor& rows, const Tensor& values, std::int64_t count) {
    sparse_->add(context, rows, values, count);
    touched_ = true;
  }

  /// How an op writes the gradient: assign at the first touch of a step, accumulate after. Marks the touch. Throws
  /// InternalError where the gradient is sparse.
  kernels::Write touch() {
    if (sparse()) throw_sparse();
    const auto write = touched_ ? kernels::Write::kAccumulate : kernels::Write::kAssign;
    touched_ = true;
    return write;
  }
  bool touched() const { return touched_; }

  void add_use() { ++uses_; }
  bool drop_use() { return --uses_ == 0; }  // true: its gradient is final

 private:
  friend class ParameterStore;
  [[noreturn]] void throw_sparse() const;
  std::string name_;
  Shape shape_;
  Init init_;
  bool decay_;
  std::int64_t begin_ = 0;
  Tensor value_, compute_, gradient_;
  std::optional<SparseGradient> sparse_;
  bool touched_ = false;
  int uses_ = 0;
};

/// Elements [begin, end) of the flat buffers, reduced as one.
struct Bucket {
  std::int64_t begin, end;
};

class ParameterStore {
 public:
  static constexpr std::int64_t kParameterAlignment = 16;  // elements: 64 bytes
  static constexpr std::int64_t kBucketAlignment = 1024;

  ParameterStore() = default;
  ParameterStore(const ParameterStore&) = delete;
  ParameterStore& operator=(const ParameterStore&) = delete;

  /// Throws InternalError for a name that is taken, or after `allocate`.
  Parameter& add(std::string name, const Shape& shape, Init init, bool decay, GradientKind kind = GradientKind::kDense);
  /// What follows starts a new block: a bucket may end here once it holds `bucket_bytes`.
  void begin_block() { block_starts_.push_back(parameters_.size()); }

  /// Lays out and fills the buffers.
  void allocate(Context& context, std::int64_t bucket_bytes = std::int64_t{25} << 20);

  const std::vector<std::unique_ptr<Parameter>>& parameters() const { return parameters_; }  // in order of registration
  Parameter* find(const std::string& name) const;
  std::int64_t parameter_count() const;  // without padding
  const Tensor& values() const { return values_; }
  /// Of all dense parameters, which come first: [dense_elements()].
  const Tensor& gradients() const { return gradients_; }
  std::int64_t dense_elements() const { return dense_elements_; }
  /// The copies in bfloat16, laid out like the values; undefined where there are none.
  const Tensor& compute_copies() const { return copies_; }
  /// After the values were written by anyone but the optimiser: the copies follow.
  void refresh_copies(Context& context) const;
  const std::vector<Bucket>& buckets() const { return buckets_; }

  /// Nothing has a gradient yet.
  void begin_step();
  /// For each parameter in order of registration, 1 where an op touched it in this step; and touches those that ops of other
  /// ranks touched. The gradient of one that was not touched here is zero.
  void add_uses(double* counts) const;
  void take_uses(const double* counts);
  /// Zeroes the gradients of parameters that no op touched in this step; they are neither updated nor decayed. Merges the
  /// sparse ones.
  void finish_gradients();
  /// The ranges of dense parameters to update in this step, by their weight decay. Adjacent ranges are merged.
  std::vector<kernels::Segment> segments(float weight_decay) const;

 private:
  void layout(std::int64_t bucket_elements);
  void initialise(const Context& context);

  std::vector<std::unique_ptr<Parameter>> parameters_;
  std::vector<std::size_t> block_starts_;
  std::vector<Bucket> buckets_;
  Tensor values_, gradients_, copies_;
  std::int64_t flat_elements_ = 0, dense_elements_ = 0;
  Context* context_ = nullptr;  // of the buffers
};

}  // namespace tradewind::runtime
