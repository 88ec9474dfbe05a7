# shellcheck shell=bash
# What cluster/mpirun/one-host and cluster/mpirun/hosts share: running mpirun, and ending with the job's exit code.
#
# Three things that mpirun (Open MPI 4.1) does not do by itself:
#
#   Its exit code is that of the first process that it saw end: 137 for a rank that was killed, 205 for a host that it lost. The
#   ranks agree on one code and say it in the first line of their report, so that line decides.
#
#   When a host is cut off while mpirun orders its ranks to end, the order stays unacknowledged, TCP's keepalive does not run, and
#   mpirun waits for minutes. The ranks have left by then (their side channel saw to it): mpirun is ended after 4 seconds.
#
#   At SIGTERM or Ctrl-C it gives the ranks one second. A checkpoint takes longer: it is sent as SIGUSR1, which it forwards, and
#   which lets the ranks stop at the next step, save, and end with 75. A second signal ends them at once.

die() {
  echo "$(basename "$0"): $*" >&2
  exit 2
}

# The tradewind to run: TRADEWIND, or the one of the build beside this script, or the one on PATH.
find_tradewind() {
  local here
  here=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
  for program in "${TRADEWIND:-}" "$here/build/release/launcher/tradewind" "$(command -v tradewind)"; do
    [[ -n $program && -x $program ]] && return 0
  done
  die "there is no tradewind; build it (launcher/quickstart), or say where it is: TRADEWIND=/path/to/tradewind"
}

# base_options THREADS OVERSUBSCRIBE: sets `options` to what every run needs. GOMP_SPINCOUNT keeps what the user chose: OpenMP
# threads that wait shall spin briefly, then give their core to whoever has work.
base_options() {
  options=(-x "OMP_NUM_THREADS=$1" -x "GOMP_SPINCOUNT=${GOMP_SPINCOUNT:-10000}")
  [[ $(id -u) -eq 0 ]] && options+=(--allow-run-as-root)
  if [[ $2 -eq 1 ]]; then # binding would put two ranks on one core, and one that polls would take it from the one that computes
    options+=(--oversubscribe --bind-to none --mca mpi_yield_when_idle 1)
  else
    options+=(--map-by "slot:PE=$1")
  fi
}

# run_job COMMAND...: as the head of this file says. Ends this script.
run_job() {
  local scratch launcher code='' said=0 signals=0 line partial='' status
  scratch=$(mktemp -d)
  mkfifo "$scratch/errors"
  set -m # a process group of its own: the terminal's Ctrl-C comes here alone, and what is left can be ended as a whole
  "$@" 2>"$scratch/errors" </dev/null &
  launcher=$!
  set +m
  exec 3<"$scratch/errors"
  rm -r "$scratch"
  trap 'signals=$((signals + 1)); if [[ $signals -eq 1 ]]; then kill -USR1 $launcher; else kill -TERM $launcher; fi' INT TERM
  while true; do
    if IFS= read -r -t 1 -u 3 line; then
      line=$partial$line partial=''
      printf '%s\n' "$line" >&2
      if [[ -z $code && $line =~ Tradewind\ ends\ the\ job\ with\ exit\ code\ ([0-9]+) ]]; then
        code=${BASH_REMATCH[1]} said=$SECONDS
      fi
      kill -0 "$launcher" 2>/dev/null && continue
    else
      status=$?
      partial=$partial$line
      # The end of what it said, or mpirun is gone and something that it left behind keeps the pipe open.
      kill -0 "$launcher" 2>/dev/null || break
      [[ $status -le 128 ]] && sleep 0.1
    fi
    if [[ -n $code && $((SECONDS - said)) -ge 4 ]] && kill -0 "$launcher" 2>/dev/null; then
      echo "mpirun still waits for a host that does not answer; all ranks that can be reached have left. Ending it." >&2
      exec 2>/dev/null # bash would tell of the kill
      mapfile -t connections < <(pgrep -P "$launcher") # ssh to the hosts: they lead process groups of their own
      kill -KILL -- "-$launcher" "${connections[@]}"
      exit "$code"
    fi
  done
  [[ -n $partial ]] && printf '%s\n' "$partial" >&2
  wait "$launcher"
  status=$?
  exit "${code:-$status}"
}
