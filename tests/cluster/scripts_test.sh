#!/usr/bin/env bash
# cluster/mpirun/one-host, cluster/mpirun/hosts and cluster/slurm/run: the command that they make of what they are given.
set -uo pipefail
cd "${TRADEWIND_SOURCE:-$(dirname "${BASH_SOURCE[0]}")/../..}" || exit 1
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
export TRADEWIND=/bin/true
failed=0

# expect CODE TEXT COMMAND...: it ends with CODE and prints TEXT; with "!TEXT" it does not.
expect() {
  local code=$1 text=$2 output status
  shift 2
  output=$("$@" 2>&1)
  status=$?
  if [[ $status -ne $code ]]; then echo "FAILED $*: exit code $status, not $code: $output"; failed=1; fi
  if [[ $text == !* ]]; then
    [[ $output != *"${text#!}"* ]] || { echo "FAILED $*: \"${text#!}\" is in: $output"; failed=1; }
  else
    [[ $output == *"$text"* ]] || { echo "FAILED $*: \"$text\" is missing in: $output"; failed=1; }
  fi
}

one=cluster/mpirun/one-host many=cluster/mpirun/hosts cores=$(nproc)
expect 2 'what shall it run' $one -n 2
expect 2 'no option --bogus' $one --bogus train x.toml
expect 0 'several ranks on this host' $one --help
expect 0 "mpirun -n 1 -x OMP_NUM_THREADS=$cores" $one --dry-run -n 1 train x.toml
expect 0 "--map-by slot:PE=$cores" $one --dry-run -n 1 train x.toml
expect 0 '/bin/true train x.toml --set a.b=c' $one --dry-run -n 1 train x.toml --set a.b=c
expect 0 '--oversubscribe --bind-to none --mca mpi_yield_when_idle 1' $one --dry-run -n $((cores + 1)) -t 1 train x.toml
expect 0 '!PE=' $one --dry-run -n $((cores + 1)) -t 1 train x.toml
expect 0 'GOMP_SPINCOUNT=7' env GOMP_SPINCOUNT=7 $one --dry-run -n 1 train x.toml
expect 0 '--mca coll tuned' env MPIRUN_OPTIONS='--mca coll tuned' $one --dry-run -n 1 train x.toml

printf 'node1 slots=2\n# node9 slots=8\n\nnode2 slots=3 # the big one\nnode3\n' >"$work/hosts"
expect 2 'which hosts' $many train x.toml
expect 2 'cannot be read' $many --hostfile "$work/none" train x.toml
expect 2 'what shall it run' $many --hostfile "$work/hosts"
expect 0 'mpirun -n 6 ' $many --hostfile "$work/hosts" --dry-run train x.toml
expect 0 'mpirun -n 4 ' $many --hostfile "$work/hosts" -n 4 --dry-run train x.toml
expect 0 '--map-by slot:PE=5' $many --hostfile "$work/hosts" -t 5 --dry-run train x.toml
expect 0 '--mca btl_tcp_if_include eth7 --mca oob_tcp_if_include eth7' $many --hostfile "$work/hosts" --interface eth7 --dry-run train x.toml
expect 0 '--mca oob_tcp_keepalive_time 10' $many --hostfile "$work/hosts" --dry-run train x.toml
: >"$work/empty"
expect 2 'names no host' $many --hostfile "$work/empty" train x.toml

unset "${!SLURM_@}"
run=cluster/slurm/run
expect 2 'what shall it run' $run
expect 2 'no option --bogus' $run --bogus train x.toml
expect 2 'there is no allocation here' $run train x.toml
expect 0 'a rank for each of its tasks' $run --help
export SLURM_JOB_ID=1
expect 0 'srun --mpi=pmix --kill-on-bad-exit=0 /bin/true train x.toml --set a.b=c' $run --dry-run train x.toml --set a.b=c
expect 0 '--cpus-per-task 6' env SLURM_CPUS_PER_TASK=6 $run --dry-run train x.toml
expect 0 '--label' env SRUN_OPTIONS=--label $run --dry-run train x.toml

# run_job: the code is the one that the ranks agreed on, and a launcher that stays behind is ended.
mkdir "$work/bin"
printf '#!/bin/bash\necho "Tradewind ends the job with exit code 5." >&2\n[[ -n ${STAYS:-} ]] && sleep 100\nexit 137\n' >"$work/bin/srun"
chmod +x "$work/bin/srun"
expect 5 'ends the job with exit code 5' env PATH="$work/bin:$PATH" $run train x.toml
expect 5 'srun still waits for a host that does not answer' env STAYS=1 PATH="$work/bin:$PATH" $run train x.toml

[[ $failed -eq 0 ]] && echo "the scripts make the commands that they should"
exit $failed
