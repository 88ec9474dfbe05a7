#include "runtime/parallel/parameter_store.h"

#include <algorithm>
#include <cmath>
#include <numbers>

#include "kernels/base/philox.h"
#include "kernels/convert.h"
#include "runtime/core/transfer.h"

namespace tradewind::runtime {
namespace {

std::int64_t round_up(std::int64_t n, std::int64_t to) { return (n + to - 1) / to * to; }

struct Pair {
  double a, b;
};

/// Two uniform numbers in (0, 1), of 53 bits, for elements 2 i and 2 i + 1.
Pair uniform_pair(kernels::PhiloxKey key, std::uint64_t i) {
  const auto block = kernels::philox(key, {{static_cast<std::uint32_t>(i), static_cast<std::uint32_t>(i >> 32), 0, 0}});
  const auto uniform = [&](int w) {
    const std::uint64_t bits = (std::uint64_t{block.w[w]} << 32 | block.w[w + 1]) >> 11;
    return (static_cast<double>(bits) + 0.5) * 0x1p-53;
  };
  return {uniform(0), uniform(2)};
}

/// Two standard normal numbers (Box and Muller 1958).
Pair normal_pair(kernels::PhiloxKey key, std::uint64_t i) {
  const auto [u, v] = uniform_pair(key, i);
  const double radius = std::sqrt(-2 * std::log(u)), angle = 2 * std::numbers::pi * v;
  return {radius * std::cos(angle), radius * std::sin(angle)};
}

/// Two uniform numbers in (-1, 1).
Pair signed_pair(kernels::PhiloxKey key, std::uint64_t i) {
  const auto [u, v] = uniform_pair(key, i);
  return {2 * u - 1, 2 * v - 1};
}

}  // namespace

void Parameter::throw_sparse() const {
  throw InternalError("parameter \"" + name_ + "\" has a sparse gradient, and an op writes a dense one; register it with " +
                      "GradientKind::kDense");
}

Parameter& ParameterStore::add(std::string name, const Shape& shape, Init init, bool decay, GradientKind kind) {
  require(!values_.defined(), "ParameterStore::add", "the buffers are laid out already");
  if (find(name) != nullptr) throw InternalError("ParameterStore::add: a second parameter \"" + name + "\"");
  require(kind == GradientKind::kDense || shape.rank() == 2, "ParameterStore::add", "a sparse gradient is that of a table");
  parameters_.push_back(std::make_unique<Parameter>(std::move(name), shape, init, decay, kind));
  return *parameters_.back();
}

Parameter* ParameterStore::find(const std::string& name) const {
  for (const auto& p : parameters_)
    if (p->name() == name) return p.get();
  return nullptr;
}

std::int64_t ParameterStore::parameter_count() const {
  std::int64_t n = 0;
  for (const auto& p : parameters_) n += p->shape().elements();
  return n;
}

void ParameterStore::layout(std::int64_t bucket_elements) {
  std::int64_t at = 0, bucket_begin = 0;
  const auto close = [&] {
    at = round_up(at, kBucketAlignment);
    if (at > bucket_begin) buckets_.push_back({bucket_begin, at});
    bucket_begin = at;
  };
  for (std::size_t i = parameters_.size(); i-- > 0;) {
    if (!parameters_[i]->sparse()) {
      parameters_[i]->begin_ = at;
      at = round_up(parameters_[i]->end(), kParameterAlignment);
    }
    const bool block_ends = std::ranges::find(block_starts_, i) != block_starts_.end();
    if (block_ends && at - bucket_begin >= bucket_elements) close();
  }
  close();
  dense_elements_ = at;
  for (const auto& p : parameters_) {
    if (!p->sparse()) continue;
    p->begin_ = at;
    at = round_up(p->end(), kParameterAlignment);
  }
  flat_elements_ = at;
}

void ParameterStore::allocate(Context& context, std::int64_t bucket_bytes) {
  require(!values_.defined(), "ParameterStore::allocate", "called twice");
  layout(bucket_bytes / 4);
  context_ = &context;
  values_ = context.tensor({flat_elements_}, DType::kFloat32, Purpose::kParameters);
  gradients_ = context.tensor({dense_elements_}, DType::kFloat32, Purpose::kGradients);
  gradients_.zero();  // the padding stays zero for good
  if (context.compute_type() != DType::kFloat32)
    copies_ = context.tensor({flat_elements_}, context.compute_type(), Purpose::kParameters);
  for (const auto& p : parameters_) {
    p->value_ = values_.view(p->begin_, p->shape_);
    if (!p->sparse()) p->gradient_ = gradients_.view(p->begin_, p->shape_);
    p->compute_ = copies_.defined() ? copies_.view(p->begin_, p->shape_) : p->value_;
  }
  initialise(context);
  refresh_copies(context);
}

void ParameterStore::refresh_copies(Context& context) const {
  if (!copies_.defined()) return;
  kernels::convert(copies_.raw(), copies_.dtype(), values_.raw(), DType::kFloat32, flat_elements_, context.launch());
}

/// On the host, so that every device begins with the same numbers.
void ParameterStore::initialise(const Context& context) {
  const Tensor host = values_.on_host() ? values_ : Tensor(host_allocator(), values_.shape(), DType::kFloat32);
  host.zero();
  for (const auto& p : parameters_) {
    const auto value = host.view(p->begin_, p->shape_).span<float>();
    if (p->init_.kind == Init::Kind::kConstant) {
      std::ranges::fill(value, p->init_.value);
      continue;
    }
    const auto key = kernels::philox_key(context.step_state().seed, purpose_of("init." + p->name_));
    for (std::size_t i = 0; i < value.size(); i += 2) {
      const auto [a, b] = p->init_.kind == Init::Kind::kNormal ? normal_pair(key, i / 2) : signed_pair(key, i / 2);
      value[i] = static_cast<float>(p->init_.value * a);
      if (i + 1 < value.size()) value[i + 1] = static_cast<float>(p->init_.value * b);
    }
  }
  if (!values_.on_host()) copy_from_host(values_, host.raw());
}

void ParameterStore::begin_step() {
  for (const auto& p : parameters_) {
    p->touched_ = false;
    p->uses_ = 0;
    if (p->sparse()) p->sparse_->clear();
  }
}

void ParameterStore::finish_gradients() {
  for (const auto& p : parameters_) {
    if (p->sparse())
      p->sparse_->merge(*context_);
    else if (!p->touched_)
      p->gradient_.zero();
  }
}

void ParameterStore::add_uses(double* counts) const {
  for (std::size_t i = 0; i < parameters_.size(); ++i) counts[i] = parameters_[i]->touched_ ? 1 : 0;
}

void ParameterStore::take_uses(const double* counts) {
  for (std::size_t i = 0; i < parameters_.size(); ++i) parameters_[i]->touched_ = counts[i] > 0;
}

std::vector<kernels::Segment> ParameterStore::segments(float weight_decay) const {
  std::vector<kernels::Segment> out;
  for (std::size_t i = parameters_.size(); i-- > 0;) {
    const auto& p = *parameters_[i];
    if (!p.touched_ || p.sparse()) continue;
    const kernels::Segment s{.begin = p.begin(), .end = p.end(), .weight_decay = p.decay() ? weight_decay : 0.0F};
    // The gap between neighbours is padding of zeros with zero gradients: updating it changes nothing.
    if (!out.empty() && out.back().weight_decay == s.weight_decay && s.begin - out.back().end < kParameterAlignment)
      out.back().end = s.end;
    else
      out.push_back(s);
  }
  return out;
}

}  // namespace tradewind::runtime
