#!/usr/bin/env bash
# clang-tidy (.clang-tidy: naming and the bug finders) over the sources that changed: what is not committed, else what the last
# commit changed, or what sets this branch apart from main. At most TIDY_FILES (8) files and TIDY_SECONDS (170) a run, newest
# first; what is left out is named. TIDY_FILES=all and TIDY_SECONDS=7200 check every source:
#   TIDY_FILES=all TIDY_SECONDS=7200 tests/run lint/tidy_test     (600 seconds a program still hold)
set -euo pipefail
cd "${TRADEWIND_SOURCE:-$(dirname "${BASH_SOURCE[0]}")/../..}"
build=${TRADEWIND_BUILD:-$PWD/build/test}
limit=${TIDY_FILES:-8} seconds=${TIDY_SECONDS:-170}
command -v clang-tidy >/dev/null || { echo "SKIPPED lint/tidy: clang-tidy is not installed"; exit 0; }
[[ -e $build/compile_commands.json ]] || { echo "SKIPPED lint/tidy: there is no $build/compile_commands.json"; exit 0; }

changed() {
  local base
  if [[ $limit == all ]]; then git ls-files -- '*.cpp'; return; fi
  git diff --name-only --diff-filter=d HEAD -- '*.cpp' '*.h'
  git ls-files --others --exclude-standard -- '*.cpp' '*.h'
  base=$(git merge-base HEAD main 2>/dev/null || true)
  if [[ -z $base || $base == $(git rev-parse HEAD) ]]; then base=$(git rev-parse -q --verify HEAD~1 || true); fi
  [[ -z $base ]] || git diff --name-only --diff-filter=d "$base" HEAD -- '*.cpp' '*.h'
}

# A header is read through the source of the same stem. Only what the build compiles has flags to read it with.
sources=() seen=' '
while read -r file; do
  source=${file%.h}
  [[ $source == "$file" ]] || source=$source.cpp
  [[ -f $source && $seen != *" $source "* ]] || continue
  seen+="$source "
  grep -qF "\"file\": \"$PWD/$source\"" "$build/compile_commands.json" && sources+=("$source")
done < <(changed)
if [[ ${#sources[@]} -eq 0 ]]; then echo "no compiled source changed"; exit 0; fi
if [[ $limit == all ]]; then limit=${#sources[@]}; fi
mapfile -t sources < <(ls -t -- "${sources[@]}")

# omp.h is GCC's, less the one attribute that clang does not know; the rest of GCC's own headers must stay out of its way.
include=$build/tidy-include
mkdir -p "$include"
rm -f "$include/omp.h"
sed 's/__malloc__ (omp_free)/__malloc__/' "$(g++ -print-file-name=include)/omp.h" >"$include/omp.h"

check() {
  timeout "$1" clang-tidy --quiet -p "$build" --extra-arg=-Wno-unknown-warning-option --extra-arg=-Wno-unknown-pragmas \
    --extra-arg="-idirafter$include" "$2" 2>&1
}

failed=0 left=() checked=0
jobs=$(nproc)
end=$((SECONDS + seconds))
declare -A running
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
wait_one() {  # of the running ones, the first started
  local source=${order[0]} code=0
  order=("${order[@]:1}")
  wait "${running[$source]}" || code=$?
  if [[ $code -eq 124 ]]; then
    left+=("$source")
  elif [[ $code -ne 0 ]]; then
    grep -vE '^[0-9]+ warnings? (generated|treated)|^Suppressed|^Use -header' "$scratch/${source//\//-}" || true
    failed=$((failed + 1))
  else
    checked=$((checked + 1))
  fi
}
order=()
for source in "${sources[@]}"; do
  if [[ $limit -le 0 || $SECONDS -ge $end ]]; then left+=("$source"); continue; fi
  [[ ${#order[@]} -lt $jobs ]] || wait_one
  limit=$((limit - 1))
  check "$((end > SECONDS ? end - SECONDS : 1))" "$source" >"$scratch/${source//\//-}" &
  running[$source]=$!
  order+=("$source")
done
while [[ ${#order[@]} -gt 0 ]]; do wait_one; done

if [[ ${#left[@]} -gt 0 ]]; then echo "NOTE clang-tidy left out ${#left[@]} changed sources for time: ${left[*]}"; fi
echo "clang-tidy: $checked sources are clean, $failed are not"
[[ $failed -eq 0 ]]
