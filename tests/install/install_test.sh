#!/usr/bin/env bash
# What `cmake --install` leaves is complete: the binary runs, and a program out of this tree (tests/install/example) finds the
# package, adds a model of its own to the registry, and trains, continues, evaluates and exports it like any other.
set -euo pipefail
build=${TRADEWIND_BUILD:?run this through tests/run}
example=${TRADEWIND_SOURCE:?run this through tests/run}/tests/install/example
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
fail() { echo "FAILED: $1"; shift; [[ $# -eq 0 ]] || cat "$@"; exit 1; }

ninja -C "$build" tradewind >/dev/null
cmake --install "$build" --prefix "$scratch/prefix" >"$scratch/install.log" || fail "cmake --install" "$scratch/install.log"
"$scratch/prefix/bin/tradewind" --version
test -f "$scratch/prefix/share/tradewind/configs/language/gpt-shakespeare.toml"
share=$scratch/prefix/share
grep -q '^\.TH TRADEWIND 1' "$share/man/man1/tradewind.1"
grep -q '^complete -F _tradewind tradewind' "$share/bash-completion/completions/tradewind"
grep -q '^#compdef tradewind' "$share/zsh/site-functions/_tradewind"
grep -q '^complete -c tradewind' "$share/fish/vendor_completions.d/tradewind.fish"
bash -n "$share/bash-completion/completions/tradewind"

{ cmake -S "$example" -B "$scratch/build" -G Ninja -DCMAKE_BUILD_TYPE=Release -DCMAKE_PREFIX_PATH="$scratch/prefix" &&
  ninja -C "$scratch/build"; } >"$scratch/build.log" 2>&1 || fail "building the example against the prefix" "$scratch/build.log"

cd "$scratch"
shopgram=$scratch/build/shopgram
run() { GOMP_SPINCOUNT=1000 "$shopgram" "$@" >"$scratch/run.log" 2>&1 || fail "shopgram $*" "$scratch/run.log"; }
run demo-text --to copy.txt --documents 300
run train "$example/shopgram.toml" --set data.path=copy.txt
python3 - runs/shopgram/metrics.jsonl <<'END' || fail "the loss of the example does not fall"
import json, sys
lines = [json.loads(line) for line in open(sys.argv[1])]
losses = [line["loss"] for line in lines if "loss" in line]
validation = [line["validation_loss"] for line in lines if "validation_loss" in line]
print(f"{len(losses)} steps, loss {losses[0]:.3f} to {losses[-1]:.3f}, validation {validation[-1]:.3f}")
sys.exit(not (len(losses) == 60 and losses[-1] < losses[0] - 0.5 and len(validation) == 3))
END
run evaluate runs/shopgram
run export runs/shopgram --to shopgram.h5
run config schema model.channels --model shopgram
if "$shopgram" generate runs/shopgram >generate.log 2>&1; then fail "generating with a model that generates nothing"; fi
grep -q 'generates no text' generate.log || fail "the reason why it does not generate" generate.log
"$scratch/prefix/bin/tradewind" train "$example/shopgram.toml" --set data.path=copy.txt --set run.directory=other >other.log 2>&1 &&
  fail "tradewind knows a model that is not its own"
grep -q 'no model "shopgram"' other.log || fail "the reason why tradewind does not know it" other.log
