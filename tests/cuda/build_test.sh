#!/usr/bin/env bash
# Where nvcc is, everything compiles and links for sm_80 and sm_90, without a warning, in build/cuda; the binary carries machine code of
# both and PTX of sm_80.
set -euo pipefail
cd "${TRADEWIND_SOURCE:-$(dirname "${BASH_SOURCE[0]}")/../..}"
PATH=$PATH:/usr/local/cuda/bin
command -v nvcc >/dev/null || { echo "SKIPPED cuda/build_test: no nvcc (CUDA 12 or later) here"; exit 0; }
build=build/cuda
mkdir -p "$build"
cmake -S . -B "$build" -G Ninja -DCMAKE_BUILD_TYPE=Release -DTRADEWIND_WERROR=ON -DTRADEWIND_TESTS=ON -DTRADEWIND_CUDA=on \
  '-DTRADEWIND_CUDA_ARCHITECTURES=80;90-real' >"$build/configure.log" 2>&1 || { tail -n 30 "$build/configure.log"; exit 1; }
ninja -C "$build" tradewind_gpu_tests tradewind_kernels >"$build/build.log" 2>&1 ||
  { grep -E -A 12 'FAILED:|error' "$build/build.log" | head -n 60; exit 1; }
if grep -E 'warning' "$build/build.log"; then echo "nvcc warns, see above"; exit 1; fi
# No kernel spills; the table in kernels/README.md is what ptxas said, where this is the ptxas that it was made with.
if nvcc --version | grep -q 'release 13.0'; then
  kernels/cuda/resources.py "$build" --check
else
  echo "NOTE kernels/README.md was made with CUDA 13.0; another ptxas gives other figures, which are not compared"
fi
echo "built and linked in $build"
