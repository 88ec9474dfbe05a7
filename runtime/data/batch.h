// What a data set hands to a task: named tensors, and how many targets in them count.
#pragma once

#include <cstdint>
#include <map>
#include <span>
#include <string>
#include <vector>

#include "runtime/core/tensor.h"

namespace tradewind::runtime {

class Context;

/// One micro-batch. Which fields there are is agreed between data set and task; for packed token rows (N tokens in S
/// sequences):
///   "ids"       [N] int32     input tokens
///   "targets"   [N] int32     the token to predict, -100 where none
///   "offsets"   [S + 1] int64 sequence boundaries
///   "positions" [N] int32     position inside the sequence, from 0
///   "samples"   [N] uint64    running sample index of the block the token came from (keys random numbers)
///   "slots"     [N] int32     position inside the block (keys random numbers together with "samples")
/// and where most rows have no target, so that a model may leave out their scores:
///   "trained"         [M] int32  the rows that have one, ascending
///   "trained_targets" [M] int32  their targets
struct Batch {
  std::map<std::string, Tensor> fields;
  std::map<std::string, Tensor> host_fields;  // of a batch on a device: what it was made of
  std::int64_t samples = 0;                   // data-set samples in it
  std::int64_t tokens = 0;                    // of text; 0 where speed is told in samples
  std::int64_t valid = 0;                     // targets that count in the loss
  std::int64_t max_length = 0;                // longest sequence
  std::int64_t bytes_of_text = 0;             // UTF-8 bytes that the valid targets stand for (bits per byte)

  /// Throws InternalError naming the field where it is missing.
  const Tensor& operator[](const std::string& name) const;
  /// The field where the host can read it. Throws InternalError where it is not.
  const Tensor& on_host(const std::string& name) const;
};

/// The batch as the context's device has it: itself, or with copies in the order of the context's stream.
Batch on_device(Context& context, const Batch& batch);

/// Everything one rank computes in one optimiser step.
struct StepBatch {
  std::uint64_t first_sample = 0;  // running index over all epochs of the step's first sample, all ranks
  std::vector<Batch> micro;
  std::int64_t valid = 0;  // of this rank, all micro-batches
  std::int64_t tokens = 0;
  std::int64_t samples = 0;
};

/// A sample's identity: its running number over all epochs (keys its random numbers) and where that number leads.
struct SampleRef {
  std::uint64_t running;
  std::int64_t epoch;
  std::int64_t index;  // into the epoch, after shuffling
};

/// A data set is random access by (epoch, index). It must be safe to read from the prefetch thread.
class Dataset {
 public:
  virtual ~Dataset() = default;
  virtual std::int64_t samples_per_epoch() const = 0;
  virtual Batch collate(std::span<const SampleRef> samples) const = 0;
  /// XXH3-64 of what was read (contents, not path), for the checkpoint and for comparing ranks.
  virtual std::uint64_t checksum() const = 0;
};

}  // namespace tradewind::runtime
