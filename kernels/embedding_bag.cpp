#include "kernels/embedding_bag.h"

#include <algorithm>
#include <limits>
#include <string>

#include "kernels/base/dispatch.h"
#include "kernels/cpu/embedding_bag.h"
#include "kernels/cuda/embedding_bag.h"

namespace tradewind::kernels {
namespace {

constexpr std::int64_t kMost = std::numeric_limits<std::int32_t>::max();

std::string place_of(std::int64_t bag, const BagShape& s) {
  return "table " + std::to_string(bag / s.B) + ", sample " + std::to_string(bag % s.B);
}

// What no data can get wrong.
void require_bags(const char* op, const BagShape& s, const BagOptions& o) {
  require(s.T >= 0 && s.B >= 0 && s.C > 0 && s.N >= 0, op, "T, B and N must be at least 0 and C at least 1");
  require(s.V >= 0 && s.V <= kMost && s.N <= kMost && s.T * s.B <= kMost, op, "V, N and B T must be below 2^31");
  require(s.stride >= s.T * s.C, op, "the stride must be at least T C");
  require(s.T == 0 || s.row_offsets != nullptr, op, "row_offsets must be given");
  require(s.T * s.B == 0 || s.bag_offsets != nullptr, op, "bag_offsets must be given");
  require(s.N == 0 || (s.ids != nullptr && s.T * s.B > 0), op, "ids need bags, and must be given");
  require(o.mode != BagMode::kMax || o.weights == nullptr, op, "the largest of a bag has no weights");
}

void require_backward(const char* op, const void* dout, const void* table, const float* dweights, const std::int32_t* argmax,
                      const BagShape& s, const BagOptions& o) {
  require_bags(op, s, o);
  require(dweights == nullptr || o.mode != BagMode::kMax, op, "the largest of a bag has no weights");
  if (s.N == 0) return;
  require(dout != nullptr, op, "dout must be given");
  require(dweights == nullptr || table != nullptr, op, "dweights needs the table");
  require(o.mode != BagMode::kMax || argmax != nullptr, op, "needs the argmax of embedding_bag_forward");
}

void require_update(const char* op, const void* table, const float* moment, std::int64_t count, const RowUpdateOptions& update,
                    const Launch& launch) {
  require(launch.step != nullptr, op, "launch.step must be given");
  if (count == 0) return;
  require(table != nullptr, op, "the table must be given");
  require(moment != nullptr || update.kind != RowUpdateKind::kRowwiseAdagrad, op, "row-wise Adagrad needs its moments");
}

// Host arrays: offsets, and ids, which come from data.
void check_bags(const char* op, const BagShape& s) {
  if (s.T == 0) return;
  require(s.row_offsets[0] == 0 && s.row_offsets[s.T] == s.V && std::is_sorted(s.row_offsets, s.row_offsets + s.T + 1), op,
          "row_offsets must rise from 0 to V");
  const std::int64_t bags = s.T * s.B;
  if (bags == 0) return;
  require(s.bag_offsets[0] == 0 && s.bag_offsets[bags] == s.N, op, "bag_offsets must go from 0 to N");
  for (std::int64_t bag = 0; bag < bags; ++bag)
    if (s.bag_offsets[bag] > s.bag_offsets[bag + 1])
      throw DataError(std::string(op) + ": the bag of " + place_of(bag, s) + " ends at id " +
                      std::to_string(s.bag_offsets[bag + 1]) + ", before it begins at " + std::to_string(s.bag_offsets[bag]) +
                      "; prepare the data again");
}

[[noreturn]] void throw_bad_id(const char* op, const BagShape& s, std::int64_t t, std::int64_t rows) {
  std::int64_t n = s.bag_offsets[t * s.B];
  while (s.ids[n] >= 0 && s.ids[n] < rows) ++n;
  const std::int64_t bag = std::upper_bound(s.bag_offsets, s.bag_offsets + s.T * s.B + 1, n) - s.bag_offsets - 1;
  throw DataError(std::string(op) + ": id " + std::to_string(s.ids[n]) + ", the one at " +
                  std::to_string(n - s.bag_offsets[bag]) + " in the bag of " + place_of(bag, s) + ", is outside the table's " +
                  std::to_string(rows) + " rows; was the data prepared with another vocabulary?");
}

void check_ids(const char* op, const BagShape& s) {
  check_bags(op, s);
  for (std::int64_t t = 0; t < s.T && s.B > 0; ++t) {
    const std::int64_t rows = s.row_offsets[t + 1] - s.row_offsets[t];
    std::uint32_t largest = 0;  // a negative id is a large one
    const std::int64_t begin = s.bag_offsets[t * s.B], end = s.bag_offsets[(t + 1) * s.B];
    for (std::int64_t n = begin; n < end; ++n) largest = std::max(largest, static_cast<std::uint32_t>(s.ids[n]));
    if (begin < end && static_cast<std::int64_t>(largest) >= rows) throw_bad_id(op, s, t, rows);
  }
}

}  // namespace

void embedding_bag_forward(void* out, std::int32_t* argmax, const void* table, const BagShape& shape, const BagOptions& options,
                           const Launch& launch) {
  constexpr const char* kOp = "embedding_bag_forward";
  require_bags(kOp, shape, options);
  require(argmax == nullptr || options.mode == BagMode::kMax, kOp, "argmax is for the mode max");
  require(shape.T * shape.B == 0 || out != nullptr, kOp, "out must be given");
  require(shape.N == 0 || table != nullptr, kOp, "the table must be given");
  if (launch.device.type == DeviceType::kCuda) {
    if constexpr (kHasCuda) {
      require_device_memory(kOp, launch,
                            {{"out", out},
                             {"argmax", argmax},
                             {"table", table},
                             {"row_offsets", shape.row_offsets},
                             {"bag_offsets", shape.bag_offsets},
                             {"ids", shape.ids},
                             {"weights", options.weights}});
      return detail::embedding_bag_forward_cuda(out, argmax, table, shape, options, launch);
    } else {
      throw_no_cuda(kOp);
    }
  }
  require_float32_on_cpu(kOp, launch, options.dtype);
  check_ids(kOp, shape);
  cpu::embedding_bag_forward(static_cast<float*>(out), argmax, static_cast<const float*>(table), shape, options, launch);
}

void embedding_bag_backward(const BagGradient& gradient, float* dweights, const void* dout, const void* table,
                            const std::int32_t* argmax, const BagShape& shape, const BagOptions& options, Write write_dweights,
                            const Launch& launch) {
  constexpr const char* kOp = "embedding_bag_backward";
  require_backward(kOp, dout, table, dweights, argmax, shape, options);
  require(gradient.begins != nullptr && (shape.N == 0 || (gradient.rows != nullptr && gradient.values != nullptr)), kOp,
          "rows, values and begins must be given");
  if (launch.device.type == DeviceType::kCuda) {
    if constexpr (kHasCuda) {
      require_device_memory(kOp, launch,
                            {{"dweights", dweights},
                             {"dout", dout},
                             {"table", table},
                             {"argmax", argmax},
                             {"row_offsets", shape.row_offsets},
                             {"bag_offsets", shape.bag_offsets},
                             {"ids", shape.ids},
                             {"weights", options.weights},
                             {"rows", gradient.rows},
                             {"values", gradient.values},
                             {"begins", gradient.begins}});
      return detail::embedding_bag_backward_cuda(gradient, dweights, dout, table, argmax, shape, options, write_dweights,
                                                 launch);
    } else {
      throw_no_cuda(kOp);
    }
  }
  require_float32_on_cpu(kOp, launch, options.dtype);
  check_ids(kOp, shape);
  cpu::embedding_bag_backward(gradient, dweights, static_cast<const float*>(dout), static_cast<const float*>(table), argmax,
                              shape, options, write_dweights, launch);
}

void embedding_bag_update(void* table, float* moment, float* dweights, const void* dout, const std::int32_t* argmax,
                          const BagShape& shape, const BagOptions& options, Write write_dweights,
                          const RowUpdateOptions& update, const Launch& launch) {
  constexpr const char* kOp = "embedding_bag_update";
  require_backward(kOp, dout, table, dweights, argmax, shape, options);
  require_update(kOp, table, moment, shape.N, update, launch);
  if (launch.device.type == DeviceType::kCuda) {
    if constexpr (kHasCuda) {
      require_device_memory(kOp, launch,
                            {{"table", table},
                             {"moment", moment},
                             {"dweights", dweights},
                             {"dout", dout},
                             {"argmax", argmax},
                             {"row_offsets", shape.row_offsets},
                             {"bag_offsets", shape.bag_offsets},
                             {"ids", shape.ids},
                             {"weights", options.weights},
                             {"launch.step", launch.step}});
      return detail::embedding_bag_update_cuda(table, moment, dweights, dout, argmax, shape, options, write_dweights, update,
                                               launch);
    } else {
      throw_no_cuda(kOp);
    }
  }
  require_float32_on_cpu(kOp, launch, options.dtype);
  check_ids(kOp, shape);
  cpu::embedding_bag_update(static_cast<float*>(table), moment, dweights, static_cast<const float*>(dout), argmax, shape,
                            options, write_dweights, update, launch);
}

void row_update(void* table, float* moment, const std::int32_t* rows, const float* values, const std::int64_t* count,
                std::int64_t capacity, std::int64_t V, std::int64_t C, DType dtype, const RowUpdateOptions& update,
                const Launch& launch) {
  constexpr const char* kOp = "row_update";
  require(C > 0 && V >= 0 && V <= kMost && capacity >= 0, kOp,
          "V must be below 2^31, the capacity at least 0 and C at least 1");
  require(count != nullptr && (capacity == 0 || (rows != nullptr && values != nullptr)), kOp,
          "rows, values and their count must be given");
  require_update(kOp, table, moment, capacity, update, launch);
  if (launch.device.type == DeviceType::kCuda) {
    if constexpr (kHasCuda) {
      require_device_memory(kOp, launch,
                            {{"table", table},
                             {"moment", moment},
                             {"rows", rows},
                             {"values", values},
                             {"count", count},
                             {"launch.step", launch.step}});
      return detail::row_update_cuda(table, moment, rows, values, count, capacity, V, C, dtype, update, launch);
    } else {
      throw_no_cuda(kOp);
    }
  }
  require_float32_on_cpu(kOp, launch, dtype);
  require(*count >= 0 && *count <= capacity, kOp, "more rows than there is room for");
  for (std::int64_t i = 0; i < *count; ++i)
    if (rows[i] < 0 || rows[i] >= V)
      throw DataError(std::string(kOp) + ": row " + std::to_string(rows[i]) + ", gradient " + std::to_string(i) +
                      ", is outside the table of " + std::to_string(V) + " rows");
  cpu::row_update(static_cast<float*>(table), moment, rows, values, *count, C, update, launch);
}

}  // namespace tradewind::kernels
