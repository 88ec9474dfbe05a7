// Optimiser updates over flat parameter ranges, one pass, and the global gradient norm.
//
// parameter, gradient and states are flat float32 arrays that share indices. Segments say which ranges are updated and how;
// ranges outside are not read. Every gradient is first multiplied by step->gradient_scale (clipping). The rate is
// step->learning_rate * segment.rate; t = step->step (from 1).
//
//   adam   m = b1 m + (1 - b1) g, v = b2 v + (1 - b2) g^2, p -= rate m^ / (sqrt(v^) + eps), with m^ = m / (1 - b1^t),
//          v^ = v / (1 - b2^t)                                             Kingma and Ba 2015, algorithm 1
//          decoupled decay (AdamW): p -= rate decay p before it            Loshchilov and Hutter 2019, algorithm 2
//          coupled (Adam with L2): g += decay p
//   sgd    g += decay p; b = momentum b + (1 - dampening) g (first step: b = g); p -= rate (nesterov ? g + momentum b : b)
//          as torch.optim.SGD; momentum 0: no buffer (null)                Sutskever et al. 2013
//   adagrad  g += decay p; sum += g^2; p -= rate g / (sqrt(sum) + eps)      as torch.optim.Adagrad
//                                                                  Duchi, Hazan and Singer 2011, with a diagonal matrix
//
// The updated parameters can go out a second time in bfloat16 (options.copy), which is what products on a device read.
// Bound by memory: adam reads 16 and writes 12 bytes a parameter, adagrad 12 and 8, and 2 for the copy. Needs launch.step.
// Element by element: the bits do not depend on threads, segments or the launch.
#pragma once

#include <cstdint>

#include "kernels/base/launch.h"

namespace tradewind::kernels {

/// Part [begin, end) of the flat arrays. Device memory where the kernel runs there.
struct Segment {
  std::int64_t begin, end;
  float weight_decay;
  float rate = 1.0F;
};

struct AdamOptions {
  float beta1 = 0.9F, beta2 = 0.999F, epsilon = 1e-8F;
  bool decoupled = true;      // AdamW
  void* copy = nullptr;       // bfloat16, or null; shares the indices of `parameter`, written where segments are
  std::int64_t elements = 0;  // in all segments, where the caller knows: a GPU gets a grid of that size; 0: a large one
};

struct SgdOptions {
  float momentum = 0.0F, dampening = 0.0F;
  bool nesterov = false;
  void* copy = nullptr;       // as AdamOptions
  std::int64_t elements = 0;  // as AdamOptions
};

struct AdagradOptions {
  float epsilon = 1e-10F;
  void* copy = nullptr;       // as AdamOptions
  std::int64_t elements = 0;  // as AdamOptions
};

void adam_update(float* parameter, float* m, float* v, const float* gradient, const Segment* segments,
                 std::int64_t segment_count, const AdamOptions& options, const Launch& launch);

void sgd_update(float* parameter, float* momentum, const float* gradient, const Segment* segments, std::int64_t segment_count,
                const SgdOptions& options, const Launch& launch);

/// `sum` begins at 0 or a small positive number.
void adagrad_update(float* parameter, float* sum, const float* gradient, const Segment* segments, std::int64_t segment_count,
                    const AdagradOptions& options, const Launch& launch);

/// *sum (=) sum of squares of x [count], in float64, summed in fixed blocks: the same bits for any number of threads. On a GPU
/// sum is device memory and the blocks are others, so the last bits differ from the CPU's.
/// NaN or infinity in x comes out as a sum that is not finite.
void squared_norm(double* sum, const float* x, std::int64_t count, const Launch& launch);

}  // namespace tradewind::kernels
