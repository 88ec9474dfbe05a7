# shellcheck shell=bash
# What cluster/mpirun/one-host, cluster/mpirun/hosts and cluster/slurm/run share: running a launcher, mpirun or srun, and ending with
# the job's exit code.
#
# Three things that mpirun (Open MPI 4.1) and srun (Slurm 22.05) do not do by themselves:
#
#   Their exit code is that of a process that they saw end: 137 for a rank that was killed, 205 or 143 for a host that was lost. The
#   ranks agree on one code and say it in the first line of their report, so that line decides.
#
#   When a host is cut off, mpirun orders its ranks to end, the order stays unacknowledged, TCP's keepalive does not run, and
#   mpirun waits for minutes; srun waits for Slurm's KillWait (30 seconds, where nobody changed it) and two more. The ranks have left
#   by then (their side channel saw to it): the launcher is ended `patience` seconds after their report.
#
#   At SIGTERM or Ctrl-C mpirun gives the ranks one second. A checkpoint takes longer: it is sent as SIGUSR1, which both launchers
#   forward, and which lets the ranks stop at the next step, save, and end with 75. A second signal ends them at once.

die() {
  echo "$(basename "$0"): $*" >&2
  exit 2
}

# The tradewind to run: TRADEWIND, or the one of the build beside this script, or the one on PATH.
find_tradewind() {
  local here
  here=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
  for program in "${TRADEWIND:-}" "$here/build/release/launcher/tradewind" "$(command -v tradewind)"; do
    [[ -n $program && -x $program ]] && return 0
  done
  die "there is no tradewind; build it (launcher/quickstart), or say where it is: TRADEWIND=/path/to/tradewind"
}

# run_job PATIENCE COMMAND...: as the head of this file says. Ends this script.
run_job() {
  local patience=$1 name=$2 scratch launcher code='' said=0 signals=0 line partial='' status
  shift
  scratch=$(mktemp -d)
  mkfifo "$scratch/errors"
  set -m # a process group of its own: the terminal's Ctrl-C comes here alone, and what is left can be ended as a whole
  "$@" 2>"$scratch/errors" </dev/null &
  launcher=$!
  set +m
  exec 3<"$scratch/errors"
  rm -r "$scratch"
  trap 'signals=$((signals + 1)); if [[ $signals -eq 1 ]]; then kill -USR1 $launcher; else kill -TERM $launcher; fi' INT TERM USR1
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
    if [[ -n $code && $((SECONDS - said)) -ge $patience ]] && kill -0 "$launcher" 2>/dev/null; then
      echo "$name still waits for a host that does not answer; all ranks that can be reached have left. Ending it." >&2
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
