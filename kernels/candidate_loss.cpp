#include "kernels/candidate_loss.h"

#include <algorithm>
#include <limits>
#include <string>

#include "kernels/base/dispatch.h"
#include "kernels/cpu/candidate_gradient.h"
#include "kernels/cpu/candidate_loss.h"
#include "kernels/cuda/candidate_loss.h"

namespace tradewind::kernels {
namespace {

constexpr std::int64_t kMost = std::numeric_limits<std::int32_t>::max();

void require_batch(const char* op, const float* loss, const void* dx, const CandidateBatch& b, bool gradient,
                   const CandidateLossOptions& o, const Launch& launch) {
  require(b.N >= 0 && b.V >= 1 && b.V <= kMost && b.C >= 1 && b.n >= 1, op, "N must be at least 0; V, C and n at least 1");
  require(candidate_count(b, o) <= kMost, op, "the candidates of a batch must be below 2^31");
  require(launch.threads >= 1, op, "launch.threads must be at least 1");
  require_float32_on_cpu(op, launch, o.dtype);
  require(o.task >= 0 && o.task < kMaxTasks, op, "task must be one of the kMaxTasks tasks");
  require(o.calibration >= 0 && o.calibration <= 1, op, "calibration must lie in [0, 1]");
  require(o.scale > 0 && o.scale <= std::numeric_limits<float>::max(), op, "scale must be positive and finite");
  require(b.bias == nullptr || o.scale == 1, op, "a bias is not scaled: scale must be 1 with one");
  require(b.log_q == nullptr || o.kind == CandidateLossKind::kSoftmax, op, "log_q corrects a softmax only");
  require(o.kind != CandidateLossKind::kBpr || o.mean != CandidateMean::kCandidates, op,
          "bpr has a term a negative: its mean is kSum or kNegatives");
  require(b.N == 0 || (loss != nullptr && b.x != nullptr && b.w != nullptr && b.targets != nullptr && b.negatives != nullptr),
          op, "loss, x, w, targets and negatives must be given");
  require(dx == nullptr || dx != b.x, op, "dx must not be x");
  require(!gradient || launch.step != nullptr, op, "gradients need launch.step, which holds the loss scale");
  const std::int64_t items = o.items == 0 ? b.V : o.items;
  if (o.kind == CandidateLossKind::kGbce && b.n >= items)
    throw ConfigError(std::string(op) + ": gBCE draws fewer negatives than there are items, and was given " +
                      std::to_string(b.n) + " of " + std::to_string(items) + "; lower the number of negatives");
}

[[noreturn]] void throw_id(const char* op, const std::string& what, std::int32_t id, const CandidateBatch& b,
                           const CandidateLossOptions& o) {
  throw DataError(std::string(op) + ": " + what + " is " + std::to_string(id) + ", outside the table of " +
                  std::to_string(b.V) + " rows and not ignore_index " + std::to_string(o.ignore_index) +
                  "; was the data prepared with another vocabulary?");
}

/// Ids come from data.
void require_ids(const char* op, const CandidateBatch& b, const CandidateLossOptions& o) {
  const auto bad = [&](std::int32_t id) { return id != o.ignore_index && (id < 0 || id >= b.V); };
  for (std::int64_t n = 0; n < b.N; ++n)
    if (bad(b.targets[n])) throw_id(op, "the target of row " + std::to_string(n), b.targets[n], b, o);
  const std::int64_t count = b.N == 0 ? 0 : o.shared_negatives ? b.n : b.N * b.n;
  for (std::int64_t i = 0; i < count; ++i)
    if (bad(b.negatives[i]))
      throw_id(op, "negative " + std::to_string(i % b.n) + (o.shared_negatives ? "" : " of row " + std::to_string(i / b.n)),
               b.negatives[i], b, o);
}

double beta_of(const CandidateBatch& b, const CandidateLossOptions& o) {
  return o.kind == CandidateLossKind::kGbce ? gbce_beta(b.n, o.items == 0 ? b.V : o.items, o.calibration) : 1.0;
}

[[maybe_unused]] void require_on_device(const char* op, const CandidateBatch& b, const Launch& launch) {
  require_device_memory(op, launch,
                        {{"x", b.x},
                         {"w", b.w},
                         {"bias", b.bias},
                         {"log_q", b.log_q},
                         {"identity", b.identity},
                         {"targets", b.targets},
                         {"negatives", b.negatives},
                         {"launch.step", launch.step}});
}

cpu::CandidateProblem problem_of(float* loss, void* dx, const CandidateBatch& b, const CandidateLossOptions& o, bool gradient,
                                 const Launch& launch) {
  return {.batch = b,
          .options = o,
          .loss = loss,
          .dx = static_cast<float*>(dx),
          .gradient = gradient,
          .loss_scale = gradient ? launch.step->loss_scale[o.task] : 0.0F,
          .beta = beta_of(b, o)};
}

}  // namespace

double gbce_beta(std::int64_t n, std::int64_t items, double t) {
  const double alpha = static_cast<double>(n) / static_cast<double>(items - 1);
  return alpha * (t * (1 - 1 / alpha) + 1 / alpha);
}

std::int64_t candidate_count(const CandidateBatch& b, const CandidateLossOptions& o) {
  return o.shared_negatives ? b.N + b.n : b.N * (1 + b.n);
}

std::int64_t candidate_loss_workspace(const CandidateBatch& b, const CandidateLossOptions& o, DeviceType device, int threads) {
  if (b.N == 0) return 0;
  const bool shared = o.shared_negatives, cuda = device == DeviceType::kCuda;
  const std::int64_t terms = candidate_count(b, o), most = std::min(terms, b.V);
  const std::int64_t chunk = (cuda ? detail::kCandidateChunkBytes / 4 : cpu::kSharedLogits) / b.n;
  const std::int64_t rows = std::min(b.N, std::max<std::int64_t>(32, chunk));
  // Of 32 bits each: the negatives' rows, logits and terms, or a weight and an id a candidate; then the distinct rows' sums.
  const std::int64_t scored = shared ? b.n * (b.C + 1) + rows * ((b.n + 15) / 16 * 16) + terms * (b.C + 3) : 2 * terms;
  const std::int64_t summed = most * (1 + b.C), bags = shared ? terms : b.N;
  // On a GPU: ten arrays of sorted_terms.cuh, those that CUB sorts in, and a chunk's logits once more in bfloat16.
  if (cuda) return 4 * (scored + summed + 16 * terms + (shared ? rows * b.n / 2 : 0));
  return 4 * (scored + summed) + cpu::sum_terms_workspace(bags, terms, b.C, threads);
}

void candidate_loss(float* loss, void* dx, float* dw, float* dbias, const CandidateBatch& b, Write write,
                    const CandidateLossOptions& o, const Launch& launch) {
  constexpr const char* kOp = "candidate_loss";
  const bool gradient = dx != nullptr || dw != nullptr || dbias != nullptr;
  require_batch(kOp, loss, dx, b, gradient, o, launch);
  if (launch.device.type == DeviceType::kCuda) {
    if constexpr (kHasCuda) {
      require_on_device(kOp, b, launch);
      require_device_memory(kOp, launch, {{"loss", loss}, {"dx", dx}, {"dw", dw}, {"dbias", dbias}});
      return detail::candidate_loss_cuda(loss, dx, dw, dbias, b, write, o, beta_of(b, o), launch);
    } else {
      throw_no_cuda(kOp);
    }
  }
  require_ids(kOp, b, o);
  cpu::candidate_loss(dw, dbias, problem_of(loss, dx, b, o, gradient, launch), write, launch);
}

std::int64_t candidate_loss_sparse(float* loss, void* dx, std::int32_t* rows, float* values, float* dbias,
                                   const CandidateBatch& b, Write write_dbias, const CandidateLossOptions& o,
                                   const Launch& launch) {
  constexpr const char* kOp = "candidate_loss_sparse";
  require(candidate_count(b, o) == 0 || (rows != nullptr && values != nullptr), kOp, "rows and values must be given");
  require_batch(kOp, loss, dx, b, true, o, launch);
  if (launch.device.type == DeviceType::kCuda) {
    if constexpr (kHasCuda) {
      require_on_device(kOp, b, launch);
      require_device_memory(kOp, launch, {{"loss", loss}, {"dx", dx}, {"rows", rows}, {"values", values}, {"dbias", dbias}});
      return detail::candidate_loss_sparse_cuda(loss, dx, rows, values, dbias, b, write_dbias, o, beta_of(b, o), launch);
    } else {
      throw_no_cuda(kOp);
    }
  }
  require_ids(kOp, b, o);
  return cpu::candidate_loss_sparse(rows, values, dbias, problem_of(loss, dx, b, o, true, launch), write_dbias, launch);
}

}  // namespace tradewind::kernels
