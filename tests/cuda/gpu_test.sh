#!/usr/bin/env bash
# The GPU programs that build_test.sh has built conform on this machine's GPU; where there is none, each says that it skips.
set -euo pipefail
cd "${TRADEWIND_SOURCE:-$(dirname "${BASH_SOURCE[0]}")/../..}"
shopt -s nullglob
programs=(build/cuda/tests/*_gpu_test)
if [[ ${#programs[@]} -eq 0 ]]; then
  echo "SKIPPED cuda/gpu_test: nothing was built (no nvcc here, or cuda/build_test failed)"
  exit 0
fi
for program in "${programs[@]}"; do "$program"; done
