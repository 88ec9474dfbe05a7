#!/usr/bin/env bash
# The machine code of every attention kernel has what its design rests on: HMMA (tensor cores), LDSM (ldmatrix), LDGSTS (cp.async).
set -euo pipefail
cd "${TRADEWIND_SOURCE:-$(dirname "${BASH_SOURCE[0]}")/../..}"
PATH=$PATH:/usr/local/cuda/bin
object=build/cuda/kernels/CMakeFiles/tradewind_kernels.dir/cuda/attention.cu.o
[[ -e $object ]] || { echo "SKIPPED cuda/sass_test: nothing was built (no nvcc here, or cuda/build_test failed)"; exit 0; }
if ! command -v cuobjdump >/dev/null || ! command -v nvdisasm >/dev/null; then
  echo "SKIPPED cuda/sass_test: no cuobjdump and nvdisasm here (they come with the CUDA toolkit)"
  exit 0
fi
cuobjdump --dump-sass "$object" | awk '
  function finish() {
    if (name == "" || name ~ /delta/) return
    ++count
    if (!hmma || !ldsm || !ldgsts) { print name " (" arch "): HMMA " hmma+0 ", LDSM " ldsm+0 ", LDGSTS " ldgsts+0; ++bad }
    total += hmma
  }
  /arch = / { arch = $3 }
  /Function : / { finish(); name = $3; hmma = ldsm = ldgsts = 0 }
  / HMMA\./ { ++hmma } / LDSM\./ { ++ldsm } / LDGSTS\./ { ++ldgsts }
  END {
    finish()
    print count + 0 " kernels, " total + 0 " HMMA instructions"
    exit bad > 0 || count == 0
  }'
