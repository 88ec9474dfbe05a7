#!/usr/bin/env bash
# The manual page is without fault to mandoc and groff, and reads as the help does, in 80 columns.
set -euo pipefail
binary=${TRADEWIND_BINARY:?run this through tests/run}
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
page=$scratch/tradewind.1
"$binary" help --man >"$page"
checked=()
if command -v mandoc >/dev/null; then
  mandoc -Tlint -Wwarning "$page" || { echo "mandoc finds fault with the page"; exit 1; }
  checked+=(mandoc)
fi
if command -v groff >/dev/null; then
  groff -man -ww -Tutf8 "$page" >"$scratch/text" 2>"$scratch/warnings"
  if [[ -s $scratch/warnings ]]; then cat "$scratch/warnings"; exit 1; fi
  checked+=(groff)
fi
if [[ ${#checked[@]} -eq 0 ]]; then
  echo "SKIPPED launcher/manual_test: neither mandoc nor groff is installed"
  exit 0
fi
if command -v man >/dev/null; then
  MANWIDTH=80 LC_ALL=C.UTF-8 man -l "$page" >"$scratch/shown" 2>"$scratch/warnings"
  if [[ -s $scratch/warnings ]]; then cat "$scratch/warnings"; exit 1; fi
  # Commands are not broken: they may stand out a little.
  awk 'length($0) > 90 { print "too long: " $0; wrong = 1 } END { exit wrong }' "$scratch/shown"
  for verb in $("$binary" --help | sed -n 's/^  \([a-z][a-z-]*\)  .*/\1/p'); do
    grep -q "tradewind $verb" "$scratch/shown" || { echo "the page does not show $verb"; exit 1; }
  done
  checked+=(man)
fi
echo "the page is good to ${checked[*]}"
