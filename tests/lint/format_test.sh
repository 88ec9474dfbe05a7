#!/usr/bin/env bash
# Every C++ file of the repository is as clang-format leaves it (.clang-format; version 14, Debian 12's).
set -euo pipefail
cd "${TRADEWIND_SOURCE:-$(dirname "${BASH_SOURCE[0]}")/../..}"
version=$(clang-format --version | sed -n 's/.*version \([0-9]*\).*/\1/p')
if [[ $version != 14 ]]; then
  echo "SKIPPED lint/format: clang-format is version ${version:-unknown}, and versions differ in taste; 14 is what is checked with"
  exit 0
fi
mapfile -t files < <(git ls-files --cached --others --exclude-standard -- '*.h' '*.cpp' '*.cu' '*.cuh')
wrong=()
for file in "${files[@]}"; do
  [[ -e $file ]] || continue  # deleted, not committed yet
  clang-format --dry-run -Werror "$file" 2>/dev/null || wrong+=("$file")
done
if [[ ${#wrong[@]} -gt 0 ]]; then
  printf 'not formatted: %s\n' "${wrong[@]}"
  echo "remedy: clang-format -i ${wrong[*]}"
  exit 1
fi
echo "${#files[@]} files are formatted"
