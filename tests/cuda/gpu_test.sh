#!/usr/bin/env bash
# The GPU programs that build_test.sh has built conform on this machine's GPU; where there is none, each says that it skips. What CUDA's
# failures become is tested everywhere.
set -euo pipefail
cd "${TRADEWIND_SOURCE:-$(dirname "${BASH_SOURCE[0]}")/../..}"
shopt -s nullglob
programs=(build/cuda/tests/*_gpu_test)
if [[ ${#programs[@]} -eq 0 ]]; then
  echo "SKIPPED cuda/gpu_test: nothing was built (no nvcc here, or cuda/build_test failed)"
  exit 0
fi
failed=0
for program in "${programs[@]}"; do "$program" || { echo "${program##*/} failed, see above"; failed=1; }; done
build/cuda/tests/device_errors_test || failed=1
# Where there is no GPU the benchmark says so, and claims nothing.
if ! nvidia-smi -L >/dev/null 2>&1; then
  code=0 said=$(build/cuda/tests/benchmarks/device/device_benchmark 2>&1) || code=$?
  echo "$said"
  [[ $code -eq 5 && $said == *"nothing was measured"* ]] || { echo "device_benchmark ended with exit code $code, not 5"; failed=1; }
fi
exit "$failed"
