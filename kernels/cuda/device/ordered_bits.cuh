// The bits of a float as a number that sorts the other way round: larger floats first. What sorts and selections take.
//
//   descending_bits(x)      both zeros are one number; -infinity is 0xFF800000, and what is above belongs to no number
//   float_of_descending(b)  back (a zero is positive)
#pragma once

#include "kernels/cuda/device/simt.cuh"

namespace tradewind::kernels {

TRADEWIND_DEVICE std::uint32_t descending_bits(float x) {
  const std::uint32_t bits = x == 0.0F ? 0U : float_bits(x);
  return (bits >> 31) != 0 ? bits : bits ^ 0x7FFFFFFFU;
}
TRADEWIND_DEVICE float float_of_descending(std::uint32_t bits) {
  return from_bits((bits >> 31) != 0 ? bits : bits ^ 0x7FFFFFFFU);
}

}  // namespace tradewind::kernels
