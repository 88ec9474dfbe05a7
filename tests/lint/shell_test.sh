#!/usr/bin/env bash
# Every shell script passes shellcheck and can be read by bash.
set -euo pipefail
cd "${TRADEWIND_SOURCE:-$(dirname "${BASH_SOURCE[0]}")/../..}"
mapfile -t files < <(git ls-files --cached --others --exclude-standard | while read -r file; do
  [[ -f $file ]] || continue
  case $file in
    *.sh) echo "$file" ;;
    *.* ) ;;
    *) head -c 64 "$file" | head -n 1 | grep -qE '^#!.*\b(bash|sh)$' && echo "$file" || true ;;
  esac
done)
for file in "${files[@]}"; do bash -n "$file"; done
if ! command -v shellcheck >/dev/null; then
  echo "SKIPPED lint/shell: shellcheck is not installed (bash -n passed on ${#files[@]} scripts)"
  exit 0
fi
shellcheck -x -S warning -s bash "${files[@]}"
echo "${#files[@]} scripts pass"
