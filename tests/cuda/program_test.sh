#!/usr/bin/env bash
# A binary with CUDA starts, and trains on the CPU, on a machine without a driver; it refuses device = "cuda" with exit code 5, as does the
# benchmark of training steps. Where there is a GPU, the GPT trains and generates on it as on the executor.
set -euo pipefail
cd "${TRADEWIND_SOURCE:-$(dirname "${BASH_SOURCE[0]}")/../..}"
build=build/cuda
[[ -e $build/build.ninja ]] || { echo "SKIPPED cuda/program_test: no nvcc here, or cuda/build_test did not configure"; exit 0; }
ninja -C "$build" tradewind_gpu_programs >"$build/program.log" 2>&1 || { grep -E -A 12 'FAILED:|error' "$build/program.log" | head -n 60; exit 1; }
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
binary=$build/launcher/tradewind
if ldd "$binary" | grep -E 'libcuda\.|libcudart'; then echo "the binary needs CUDA's libraries to start"; exit 1; fi
"$binary" demo-text --to "$scratch/text" --documents 200 --seed 1
train=("$binary" train configs/language/product-copy.toml --fresh --set "data.path=$scratch/text" --set "run.directory=$scratch/run"
  --set train.steps=3 --set schedule.warmup=1)
"${train[@]}" >"$scratch/log" 2>&1 || { cat "$scratch/log"; exit 1; }
"$build/tests/gpu_gpt_test"  # says so where it skips
if nvidia-smi -L >/dev/null 2>&1; then echo "there is a GPU here: nothing to refuse"; exit 0; fi
code=0
"${train[@]}" --set 'device=cuda' >"$scratch/refused" 2>&1 || code=$?
cat "$scratch/refused"
[[ $code -eq 5 ]] && grep -q 'no NVIDIA driver' "$scratch/refused"
code=0
"$build/tests/benchmarks/device/training_step_benchmark" >"$scratch/refused" 2>&1 || code=$?
cat "$scratch/refused"
[[ $code -eq 5 ]] && grep -q 'nothing was measured' "$scratch/refused"
