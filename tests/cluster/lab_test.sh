#!/usr/bin/env bash
# Three hosts, two ranks on each: a host that is cut off or loses its power, a rank that is stopped or killed, under mpirun over ssh
# (cluster/mpirun/hosts), in a job of Slurm (cluster/slurm/run) and under plain srun. The run ends by itself, names rank, host and
# collective, gives the exit code 5, and its last checkpoint is good. A rank that fails by itself, for want of memory (5), of a file (3)
# or of room on its disk (4), is named, and its exit code is the job's. A job near its time limit (cluster/slurm/train.sbatch) saves,
# queues again and goes on; one that is cancelled saves and does not queue again.
#
#   tests/cluster/lab_test.sh            four cases, a minute: what tests/run runs
#   tests/cluster/lab_test.sh all        every launcher with every event, a quarter of an hour
#   tests/cluster/lab_test.sh LAUNCHER EVENT TARGET
#       one: hosts|slurm|srun  cut|power|stop|kill|memory|missing|full  node3 (cut, power, missing) or a rank; or: slurm limit
#   HEARTBEAT=10 tests/cluster/lab_test.sh ...         cluster.heartbeat_seconds (3 where it is not said)
#
# Needs root and a cluster of three hosts on this machine, made by the scripts up, on, cut, heal, kill-node, boot and down in
# the folder CLUSTER_LAB. What it prints ends with the times: how long after the event the last rank that can be
# reached was gone, and how long until the launcher was. They are shown, not judged.
set -uo pipefail
source_dir=$(cd "${TRADEWIND_SOURCE:-$(dirname "${BASH_SOURCE[0]}")/../..}" && pwd)
lab=${CLUSTER_LAB:-}
binary=${TRADEWIND_BINARY:-${TRADEWIND_BUILD:-$source_dir/build/release}/launcher/tradewind}

skip() { echo "SKIPPED cluster/lab_test: $*"; exit 0; }
[[ $(id -u) -eq 0 ]] || skip "it needs root"
[[ -n $lab ]] || skip "CLUSTER_LAB does not say where three hosts are"
[[ -x $lab/up ]] || skip "there is no $lab/up"
[[ -x $binary ]] || skip "there is no $binary"
binary=$(readlink -f "$binary")

work=$(mktemp -d /tmp/tradewind-lab-XXXXXX)
export LAB_STATE=$work/lab LAB_SHARE=$work:$source_dir LAB_SLURMD_TIMEOUT=120 # Slurm shall not notice first
# shellcheck disable=SC2317 # the trap calls it
finish() {
  "$lab/down" >/dev/null 2>&1
  rm -rf "$work"
}
trap finish EXIT
"$lab/up" 3 >"$work/up.log" 2>&1 || { cat "$work/up.log"; skip "the hosts do not start"; }

cd "$work" || exit 1
for i in $(seq 400); do echo "Soft linen towel number $i, in $((i % 7)) colours."; done >text.txt
cat >run.toml <<END
device = "cpu"
[data]
path = "text.txt"
[model]
name = "gpt"
context = 32
layers = 2
heads = 2
channels = 32
[train]
steps = 1000000
batch = 12
[checkpoint]
every = 10
[runtime]
threads = 1
[cluster]
heartbeat_seconds = ${HEARTBEAT:-3}
END

# What each rank runs: tradewind, under the limit that limit-RANK holds.
cat >rank.sh <<END
#!/bin/bash
limit=$work/limit-\${OMPI_COMM_WORLD_RANK:-\$SLURM_PROCID}
trap '' XFSZ
[[ -f \$limit ]] && eval "\$(cat "\$limit")"
exec "$binary" "\$@"
END
chmod +x rank.sh

# The processes of ranks, zombies not counted; with a number: of that rank.
ranks() {
  local process
  for process in /proc/[0-9]*; do
    [[ $(readlink "$process/exe" 2>/dev/null) == "$binary" ]] || continue
    tr '\0' '\n' <"$process/cmdline" 2>/dev/null | grep -q "^$work/" || continue
    [[ -n ${1:-} ]] && ! tr '\0' '\n' <"$process/environ" 2>/dev/null | grep -qE "^(OMPI_COMM_WORLD_RANK|SLURM_PROCID)=$1$" && continue
    basename "$process"
  done
}

seconds_since() { awk -v a="$1" -v b="$(date +%s.%N)" 'BEGIN { printf "%.1f", b - a }'; }

# launch LAUNCHER OPTION...: sets `command` to a training under it.
launch() {
  local launcher=$1 program=(train "$work/run.toml" "${@:2}")
  case $launcher in
    hosts) command=(env "TRADEWIND=$work/rank.sh" "$source_dir/cluster/mpirun/hosts" --hostfile "$LAB_STATE/hostfile" --interface eth0
      --oversubscribe -t 1 "${program[@]}") ;;
    slurm) command=(env "TRADEWIND=$work/rank.sh" salloc --quiet -N3 --ntasks-per-node=2 "$source_dir/cluster/slurm/run" "${program[@]}") ;;
    srun) command=(srun -N3 --ntasks-per-node=2 "$work/rank.sh" "${program[@]}") ;;
  esac
}

# slurm_again: the nodes answer again.
slurm_again() {
  local node
  for node in node1 node2 node3; do "$lab/on" node1 scontrol update "nodename=$node" state=resume 2>/dev/null; done
  # Slurm may hold a node for answering that does not yet: a job that answers on all three says more than sinfo.
  for _ in $(seq 20); do
    timeout 20 "$lab/on" node1 srun -N3 true >/dev/null 2>&1 && return 0
    sleep 2
  done
  echo "Slurm does not find its nodes again"
}

failures=0
judge() { # RUN WRONG: fails where WRONG says something
  [[ -z $2 ]] && return
  echo "FAILED:$2"
  sed 's/^/    /' "$1.out" | tail -n 60
  failures=$((failures + 1))
}

# A rank that fails by itself.
fails() { # LAUNCHER EVENT TARGET
  local launcher=$1 event=$2 target=$3 run=$work/run-$1-$2-$3 expected named wrong='' code began node options=()
  options=(--set "run.directory=$run")
  case $event in
    memory)
      echo 'ulimit -v 700000' >"limit-$target"
      options+=(--set model.channels=1024 --set model.context=512)
      expected=5 named="rank $target (" ;;
    missing)
      for node in node1 node2 node3; do
        [[ $node == "$target" ]] || "$lab/on" "$node" sh -c 'mkdir -p /tmp/private && cp "$1" /tmp/private/text.txt' sh "$work/text.txt"
      done
      options+=(--set data.path=/tmp/private/text.txt)
      expected=3 named=$target ;;
    full) # a good checkpoint first: stopped, as before a time limit
      launch "$launcher" "${options[@]}"
      timeout -k 5 90 "$lab/on" node1 "${command[@]}" >"$run.out" 2>&1 &
      for _ in $(seq 300); do
        [[ -s $run/metrics.jsonl ]] && break
        sleep 0.1
      done
      kill -USR1 "$(ranks 4)"
      wait $!
      code=$?
      [[ $code -eq 75 ]] || wrong+=" after SIGUSR1 to rank 4 the exit code is $code, not 75;"
      echo 'ulimit -f 16' >"limit-$target"
      expected=4 named="rank $target on " ;; # all ranks say which one could not write
  esac
  launch "$launcher" "${options[@]}"
  began=$(date +%s.%N)
  timeout -k 5 90 "$lab/on" node1 "${command[@]}" >"$run.out" 2>&1
  code=$?
  rm -f limit-*
  echo "== $launcher, $event $target: exit code $code; launcher gone $(seconds_since "$began") s after its start"
  grep -E '^error: ' "$run.out" | sort | uniq -c | sort -rn | head -3 | cut -c1-300
  grep -E '^error: ' "$run.out" | grep -qF "$named" || wrong+=" $named is not named;"
  [[ $code -eq $expected ]] || wrong+=" the exit code is not $expected;"
  sleep 1
  [[ -n $(ranks) ]] && wrong+=" ranks are left: $(ranks | xargs);"
  if [[ $event == full ]]; then
    "$binary" verify "$run" >"$run.verify" 2>&1 || wrong+=" its checkpoint does not load: $(tail -n 1 "$run.verify");"
  fi
  judge "$run" "$wrong"
  ranks | xargs -r kill -KILL
  [[ $launcher == hosts ]] || slurm_again
}

check() { # LAUNCHER EVENT TARGET
  local launcher=$1 event=$2 target=$3 run=$work/run-$1-$2-$3 job began code ranks_gone named
  launch "$launcher" --set "run.directory=$run"
  timeout -k 5 90 "$lab/on" node1 "${command[@]}" >"$run.out" 2>&1 &
  job=$!
  for _ in $(seq 300); do
    compgen -G "$run/checkpoints/step-*" >/dev/null && break
    sleep 0.1
  done
  sleep 1
  began=$(date +%s.%N)
  case $event in
    cut) "$lab/cut" "$target" >/dev/null; named=$target ;;
    power) "$lab/kill-node" --power "$target" >/dev/null; named=$target ;;
    stop) kill -STOP "$(ranks "$target")"; named="rank $target (" ;;
    kill) kill -KILL "$(ranks "$target")"; named="rank $target (" ;;
  esac
  ranks_gone=never
  for _ in $(seq 600); do
    [[ -z $(ranks) ]] && { ranks_gone=$(seconds_since "$began"); break; }
    kill -0 $job 2>/dev/null || sleep 0.1
    sleep 0.1
  done
  wait $job
  code=$?
  echo "== $launcher, $event $target: exit code $code; ranks gone after $ranks_gone s, launcher after $(seconds_since "$began") s"
  grep -E '^error: |^The others wait' "$run.out" | sort | uniq -c | sort -rn | head -4 | cut -c1-300
  local wrong=''
  # A host that is cut off is named by the ranks that it has, or, where it is rank 0's, as the suspect or by rank 0.
  grep -E '^error: ' "$run.out" | grep -qF "$named" || wrong+=" $named is not named;"
  [[ $code -eq 5 ]] || wrong+=" the exit code is not 5;"
  [[ $ranks_gone == never ]] && wrong+=" ranks are left: $(ranks | xargs);"
  "$binary" verify "$run" >"$run.verify" 2>&1 || wrong+=" its checkpoint does not load: $(tail -n 1 "$run.verify");"
  judge "$run" "$wrong"
  case $event in cut) "$lab/heal" "$target" ;; power) "$lab/boot" "$target" ;; esac
  ranks | xargs -r kill -KILL
  [[ $event == cut || $event == power ]] && sleep 2
  [[ $launcher == hosts ]] || slurm_again
}

# until_true SECONDS COMMAND...: waits for it.
until_true() {
  local end=$((SECONDS + $1))
  shift
  while ! "$@"; do
    [[ $SECONDS -lt $end ]] || return 1
    sleep 0.2
  done
}

state_is() { [[ $("$lab/on" node1 squeue --noheader --job "$1" --format %T 2>/dev/null) == "$2" ]]; }
steps_of() { wc -l <"$1/metrics.jsonl" 2>/dev/null || echo 0; }
grows_past() { [[ $(steps_of "$1") -gt $2 ]]; }

# A job that reaches its time limit, goes on when its turn comes again, and is cancelled.
limit() {
  local run=$work/run-limit wrong='' job before saved
  job=$("$lab/on" node1 env "TRADEWIND=$work/rank.sh" sbatch --parsable -N3 --ntasks-per-node=2 --cpus-per-task=1 --time=1 --signal=B:USR1@40 \
    --output="$run.out" "$source_dir/cluster/slurm/train.sbatch" train "$work/run.toml" --set "run.directory=$run")
  until_true 60 grep -qs 'the job queues again' "$run.out" || wrong+=" it does not queue again near its limit;"
  before=$(steps_of "$run")
  until_true 90 grows_past "$run" "$before" || wrong+=" it does not go on from step $before;"
  "$lab/on" node1 scancel "$job"
  until_true 30 state_is "$job" '' || wrong+=" it does not end when it is told to;"
  sleep 15 # longer than a job waits to be queued again
  state_is "$job" '' || wrong+=" it queues again although it was cancelled;"
  [[ -n $(ranks) ]] && wrong+=" ranks are left: $(ranks | xargs);"
  "$binary" verify "$run" >"$run.verify" 2>&1 || wrong+=" its checkpoint does not load: $(tail -n 1 "$run.verify");"
  saved=$(find "$run/checkpoints" -maxdepth 1 -name 'step-*' | sed 's/.*step-0*//' | sort -n | tail -n 1)
  [[ $saved -eq $(steps_of "$run") ]] || wrong+=" cancelled after step $(steps_of "$run") it saved step $saved;"
  echo "== slurm, limit: stopped after $before steps, $(steps_of "$run") when it was cancelled, step $saved saved"
  judge "$run" "$wrong"
}

case_of() { # LAUNCHER EVENT TARGET
  case $2 in limit) limit ;; memory | missing | full) fails "$@" ;; *) check "$@" ;; esac
}

case ${1:-} in
  '')
    check hosts cut node3
    check slurm cut node3
    check srun stop 0
    fails slurm missing node3
    ;;
  all)
    for launcher in hosts slurm srun; do
      check $launcher cut node3
      check $launcher cut node1
      check $launcher power node2
      check $launcher stop 0
      check $launcher stop 3
      check $launcher kill 3
      fails $launcher memory 3
      fails $launcher missing node3
      fails $launcher full 3
    done
    limit
    ;;
  *) case_of "$1" "$2" "${3:-}" ;;
esac
[[ $failures -eq 0 ]] && echo "all cases pass"
exit $((failures > 0))
