// Philox4x32-10: the scalar definition against Random123's known answers, the vector form against the scalar one.
#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "tests/kernels/philox_test.cpp"
#include <hwy/foreach_target.h>

#include "kernels/cpu/philox-inl.h"

HWY_BEFORE_NAMESPACE();
namespace tradewind::tests {
namespace HWY_NAMESPACE {

void keep_64(std::uint32_t* keep, kernels::PhiloxKey key, std::uint32_t threshold, std::uint64_t sample, std::uint32_t position,
             std::uint32_t group) {
  kernels::HWY_NAMESPACE::dropout_keep_64(keep, key, threshold, sample, position, group);
}

}  // namespace HWY_NAMESPACE
}  // namespace tradewind::tests
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
#include "tests/support/oracle.h"
#include "tests/support/targets.h"

namespace tradewind::tests {
HWY_EXPORT(keep_64);

using kernels::philox;
using kernels::PhiloxBlock;
using kernels::PhiloxKey;

BOOST_AUTO_TEST_CASE(scalar_philox_gives_the_known_answers) {
  // Random123 1.14, tests/kat_vectors, philox4x32 10: counter, key, output.
  struct Known {
    PhiloxBlock counter;
    PhiloxKey key;
    PhiloxBlock output;
  };
  const Known known[] = {
      {{{0, 0, 0, 0}}, {0, 0}, {{0x6627E8D5, 0xE169C58D, 0xBC57AC4C, 0x9B00DBD8}}},
      {{{0xFFFFFFFF, 0xFFFFFFFF, 0xFFFFFFFF, 0xFFFFFFFF}},
       {0xFFFFFFFF, 0xFFFFFFFF},
       {{0x408F276D, 0x41C83B0E, 0xA20BC7C6, 0x6D5451FD}}},
      {{{0x243F6A88, 0x85A308D3, 0x13198A2E, 0x03707344}},
       {0xA4093822, 0x299F31D0},
       {{0xD16CFE09, 0x94FDCCEB, 0x5001E420, 0x24126EA1}}},
  };
  for (const Known& k : known) {
    const PhiloxBlock out = philox(k.key, k.counter);
    BOOST_TEST(std::vector<std::uint32_t>(out.w, out.w + 4) == std::vector<std::uint32_t>(k.output.w, k.output.w + 4));
  }
}

BOOST_AUTO_TEST_CASE(vector_masks_are_the_definitions_bits) {
  on_every_target([](const std::string& target) {
    for (const std::uint64_t seed : {0ULL, 1ULL, 0xFFFFFFFFFFFFFFFFULL})
      for (const std::uint64_t sample : {0ULL, 5ULL, 0x123456789ABCDEFULL})
        for (const std::uint32_t position : {0U, 1U, 1023U, 0x7FFFFFFFU})
          for (const std::uint32_t group : {0U, 1U, 12U, 1000U})
            for (const float p : {0.0F, 0.1F, 0.5F, 0.9F}) {
              const PhiloxKey key = kernels::philox_key(seed, 42);
              const std::uint32_t threshold = kernels::dropout_threshold(p);
              alignas(64) std::uint32_t keep[64];
              HWY_DYNAMIC_DISPATCH(keep_64)(keep, key, threshold, sample, position, group);
              int wrong = 0;
              for (std::uint32_t r = 0; r < 64; ++r) {
                const bool kept = kernels::dropout_number(key, sample, position, group * 64 + r) >= threshold;
                wrong += keep[r] != (kept ? 0xFFFFFFFFU : 0U) ? 1 : 0;
              }
              BOOST_REQUIRE_MESSAGE(wrong == 0, target << ": " << wrong << " of 64 columns differ");
            }
  });
}

}  // namespace tradewind::tests
#endif  // HWY_ONCE
