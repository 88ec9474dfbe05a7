#!/usr/bin/env bash
# Three hosts, two ranks on each: a host that is cut off or loses its power, a rank that is stopped or killed, under mpirun over ssh
# (cluster/mpirun/hosts) and under srun. The run ends by itself, names rank, host and collective, gives the exit code 5, and its
# last checkpoint is good.
#
#   tests/cluster/lab_test.sh            three cases, a minute: what tests/run runs
#   tests/cluster/lab_test.sh all        every launcher with every event, five minutes
#   tests/cluster/lab_test.sh LAUNCHER EVENT TARGET    one: hosts|srun  cut|power|stop|kill  node3 or a rank
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
finish() {
  "$lab/down" >/dev/null 2>&1
  rm -rf "$work"
}
trap finish EXIT
"$lab/up" 3 >"$work/up.log" 2>&1 || { cat "$work/up.log"; skip "the hosts do not start"; }

cd "$work" || exit 1
for i in $(seq 400); do echo "Soft linen towel number $i, in $((i % 7)) colours."; done >text.txt
cat >run.toml <<'END'
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
heartbeat_seconds = 3
END

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

failures=0
check() { # LAUNCHER EVENT TARGET
  local launcher=$1 event=$2 target=$3 run=$work/run-$1-$2-$3 program command job began code ranks_gone named
  program=(train "$work/run.toml" --set "run.directory=$run")
  case $launcher in
    hosts) command=(env "TRADEWIND=$binary" "$source_dir/cluster/mpirun/hosts" --hostfile "$LAB_STATE/hostfile" --interface eth0
      --oversubscribe -t 1 "${program[@]}") ;;
    srun) command=(srun -N3 --ntasks-per-node=2 "$binary" "${program[@]}") ;;
  esac
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
  if [[ -n $wrong ]]; then
    echo "FAILED:$wrong"
    sed 's/^/    /' "$run.out" | tail -n 60
    failures=$((failures + 1))
  fi
  case $event in cut) "$lab/heal" "$target" ;; power) "$lab/boot" "$target" ;; esac
  ranks | xargs -r kill -KILL
  [[ $event == cut || $event == power ]] && sleep 2
  [[ $launcher == hosts ]] && return 0
  for node in node1 node2 node3; do "$lab/on" node1 scontrol update "nodename=$node" state=resume 2>/dev/null; done
  # Slurm may hold a node for answering that does not yet: a job that answers on all three says more than sinfo.
  for _ in $(seq 20); do
    timeout 20 "$lab/on" node1 srun -N3 true >/dev/null 2>&1 && return 0
    sleep 2
  done
  echo "Slurm does not find its nodes again"
}

case ${1:-} in
  '')
    check hosts cut node3
    check srun cut node3
    check srun stop 0
    ;;
  all)
    for launcher in hosts srun; do
      check $launcher cut node3
      check $launcher cut node1
      check $launcher power node2
      check $launcher stop 0
      check $launcher stop 3
      check $launcher kill 3
    done
    ;;
  *) check "$1" "$2" "$3" ;;
esac
[[ $failures -eq 0 ]] && echo "all cases pass"
exit $((failures > 0))
