#!/usr/bin/env bash
# The machine code of every attention kernel has what its design rests on: HMMA (tensor cores), LDSM (ldmatrix), LDGSTS (cp.async); and
# nothing in local memory, where registers that do not suffice are spilled to. Beside the machine code of sm_80 and sm_90 is PTX of sm_80.
#
#   CUOBJDUMP=FOLDER/cuobjdump tests/cuda/sass_test.sh    with that one, and the nvdisasm beside it
#
# Both come with the CUDA toolkit; Triton's Python package has them too, in triton/backends/nvidia/bin.
set -euo pipefail
cd "${TRADEWIND_SOURCE:-$(dirname "${BASH_SOURCE[0]}")/../..}"
PATH=$PATH:/usr/local/cuda/bin
object=build/cuda/kernels/CMakeFiles/tradewind_kernels.dir/cuda/attention.cu.o
[[ -e $object ]] || { echo "SKIPPED cuda/sass_test: nothing was built (no nvcc here, or cuda/build_test failed)"; exit 0; }
if [[ -n ${CUOBJDUMP:-} ]]; then
  PATH=$(dirname "$CUOBJDUMP"):$PATH
  for tool in cuobjdump nvdisasm; do
    command -v "$tool" >/dev/null || { echo "CUOBJDUMP is '$CUOBJDUMP', but no $tool is there"; exit 1; }
  done
fi
if ! command -v cuobjdump >/dev/null || ! command -v nvdisasm >/dev/null; then
  echo "SKIPPED cuda/sass_test: no cuobjdump and nvdisasm here (they come with the CUDA toolkit; CUOBJDUMP names one elsewhere)"
  exit 0
fi
cuobjdump --list-ptx "$object" | grep -q 'sm_80\.ptx$' || { echo "no PTX of sm_80, which GPUs of other kinds translate"; exit 1; }
cuobjdump --dump-sass "$object" | awk '
  function finish() {
    if (name == "") return
    if (stl || ldl) { print name " (" arch "): spills, STL " stl+0 ", LDL " ldl+0; ++bad }
    if (name ~ /delta/) return
    ++count[arch]; total_hmma[arch] += hmma; total_ldgsts[arch] += ldgsts
    if (!hmma || !ldsm || !ldgsts) { print name " (" arch "): HMMA " hmma+0 ", LDSM " ldsm+0 ", LDGSTS " ldgsts+0; ++bad }
  }
  /arch = / { finish(); name = ""; arch = $3 }
  /Function : / { finish(); name = $3; hmma = ldsm = ldgsts = stl = ldl = 0 }
  / HMMA\./ { ++hmma } / LDSM\./ { ++ldsm } / LDGSTS\./ { ++ldgsts } / STL[. ]/ { ++stl } / LDL[. ]/ { ++ldl }
  END {
    finish()
    for (arch in count) print arch ": " count[arch] " kernels, " total_hmma[arch] " HMMA, " total_ldgsts[arch] " LDGSTS"
    if (!("sm_80" in count) || !("sm_90" in count)) { print "no machine code of sm_80 or of sm_90"; ++bad }
    exit bad > 0
  }'
