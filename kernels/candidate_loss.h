// Losses over given candidates, the target of a row and its negatives, of a table that is not scored whole.
//
//   z[j] = scale x[n] . w[c_j] + bias[c_j] - log_q[c_j]      c_0 = targets[n], c_1, c_2, ... its m negatives; with P the mean:
//   bce      P0 softplus(-z[0]) + P1 sum_j>0 softplus(z[j])         Kang and McAuley 2018 (SASRec)
//   gbce     P0 beta softplus(-z[0]) + P1 sum_j>0 softplus(z[j])    Petrov and Macdonald 2023 (gSASRec): bce whose positive
//            probability is raised to beta. Their transformed logit z' has sigmoid(z') = sigmoid(z[0])^beta, so its term
//            -log sigmoid(z') is beta softplus(-z[0]), taken in float64 and without the clamps of their code
//   bpr      P1 sum_j>0 softplus(z[j] - z[0])                       Rendle et al. 2009; without the 1e-10 of RecBole
//   softmax  log(sum_j exp z[j]) - z[0]                             sampled softmax; log_q: Yi et al. 2019, eq. 3
// P0, P1 are 1, 1 (kSum: SASRec and S3-Rec with one negative), 1, 1/m (kNegatives: the mean over negatives, as BPR's) or
// 1/(1+m), 1/(1+m) (kCandidates: the mean over all logits, as gSASRec and SASRec in "Turning Dross Into Gold Loss" have it).
//
// A negative that is ignore_index is not there; with remove_hits nor is one whose identity is that of the target: its id, or
// identity[id]. Rows whose target is ignore_index have loss 0 and no gradient. Another id outside [0, V) throws DataError; on
// CUDA, where a kernel cannot throw, it makes its row's loss and dx NaN (a shared negative: those of all rows).
//
// Shapes: x [N, C], w [V, C], bias and log_q [V] float32 or null, targets [N], negatives [N, n], or [n] for all rows with
// shared_negatives; loss [N]. Gradients of L = launch.step->loss_scale[task] * sum_n loss[n], in the same call: dx [N, C] is
// assigned; dw [V, C] and dbias [V] are written with `write`; each null where it is not wanted, all where only the loss is
// (launch.step may be null then). The sparse form gives dw's rows with a candidate instead.
//
// Deterministic, no atomics; loss and dx of a row depend on that row alone (shared_negatives: products of their chunk of rows).
// Per row of x: 2 C (1 + n) FLOPs, three times that with gradients; as many bytes of rows of w as of floats in (1 + n) C, once
// from memory. Shared negatives go through the matrix product, 6 N n C. Workspace: 8 bytes a candidate; shared: 2 MiB of logits
// (or 32 rows) and (N + 2 n) C floats; and what it takes to sort candidates (candidate_loss_workspace).
#pragma once

#include <cstdint>

#include "kernels/base/launch.h"

namespace tradewind::kernels {

enum class CandidateLossKind : std::uint8_t { kBce, kGbce, kBpr, kSoftmax };
enum class CandidateMean : std::uint8_t { kSum, kNegatives, kCandidates };  // softmax: not looked at

struct CandidateLossOptions {
  CandidateLossKind kind = CandidateLossKind::kBce;
  CandidateMean mean = CandidateMean::kSum;
  float calibration = 0.75F;  // gBCE's t in [0, 1]; 0: as bce, 1: probabilities of a full softmax
  std::int64_t items = 0;     // of gBCE's catalogue; 0: V
  float scale = 1.0F;         // 1 / temperature; 1 where there is a bias
  bool shared_negatives = false;
  bool remove_hits = false;
  std::int32_t ignore_index = -100;
  int task = 0;                   // which loss_scale
  DType dtype = DType::kFloat32;  // of x, dx and w
};

/// What is scored. Pointers are where the launch runs.
struct CandidateBatch {
  const void* x = nullptr;
  const void* w = nullptr;
  const float* bias = nullptr;
  const float* log_q = nullptr;  // logarithms of the negatives' probabilities of being drawn; softmax only
  const std::int32_t* identity = nullptr;
  const std::int32_t* targets = nullptr;
  const std::int32_t* negatives = nullptr;
  std::int64_t N = 0, V = 0, C = 0, n = 0;
};

/// gBCE's beta = alpha (t (1 - 1 / alpha) + 1 / alpha) with the sampling rate alpha = n / (items - 1): Petrov and Macdonald
/// 2023.
double gbce_beta(std::int64_t n, std::int64_t items, double t);

void candidate_loss(float* loss, void* dx, float* dw, float* dbias, const CandidateBatch& batch, Write write,
                    const CandidateLossOptions& options, const Launch& launch);

/// Candidates of a batch, which bounds the rows of the sparse form: N (1 + n), or N + n where they share negatives.
std::int64_t candidate_count(const CandidateBatch& batch, const CandidateLossOptions& options);

/// The most bytes of workspace that either form takes with gradients, by a batch's N, V, C and n and whether its rows share
/// their negatives; on a GPU about so many.
std::int64_t candidate_loss_workspace(const CandidateBatch& batch, const CandidateLossOptions& options, DeviceType device,
                                      int threads);

/// The same with dw as its distinct rows, ascending, and their gradients: rows [min(candidate_count, V)], values [the same, C].
/// Returns how many there are, for which it waits for the stream on CUDA.
std::int64_t candidate_loss_sparse(float* loss, void* dx, std::int32_t* rows, float* values, float* dbias,
                                   const CandidateBatch& batch, Write write_dbias, const CandidateLossOptions& options,
                                   const Launch& launch);

}  // namespace tradewind::kernels
