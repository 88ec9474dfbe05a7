#include "kernels/base/isa.h"

#include <hwy/targets.h>

#include <oneapi/dnnl/dnnl.hpp>

#include "kernels/base/error.h"

namespace tradewind::kernels {

void set_isa(const std::string& isa) {
  if (isa == "auto") return;
  const bool avx512 = isa == "avx512";
  if (!avx512 && isa != "avx2") throw ConfigError("runtime.isa: \"" + isa + "\" is none of \"auto\", \"avx2\", \"avx512\"");
  if ((hwy::SupportedTargets() & (avx512 ? HWY_AVX3 : HWY_AVX2)) == 0)
    throw DeviceError("runtime.isa: this machine has no " + isa + "; set runtime.isa = \"auto\"");
  if (!avx512) hwy::DisableTargets(HWY_AVX3 | HWY_AVX3_DL);
  dnnl::set_max_cpu_isa(avx512 ? dnnl::cpu_isa::avx512_core : dnnl::cpu_isa::avx2);
}

std::string active_isa() {
  // Bits of better targets are lower; the best that is supported and compiled is the one that dispatch picks.
  const std::int64_t targets = hwy::SupportedTargets();
  return hwy::TargetName(targets & -targets);
}

bool has_native_bfloat16() {
  const auto isa = dnnl::get_effective_cpu_isa();
  return isa == dnnl::cpu_isa::avx512_core_bf16 || isa == dnnl::cpu_isa::avx512_core_amx;
}

}  // namespace tradewind::kernels
