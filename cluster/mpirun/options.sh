# shellcheck shell=bash
# What cluster/mpirun/one-host and cluster/mpirun/hosts share.

# shellcheck source=cluster/job.sh
source "$(dirname "${BASH_SOURCE[0]}")/../job.sh"

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

# Seconds between the ranks' report and the end of an mpirun that still waits.
# shellcheck disable=SC2034 # the scripts use it
patience=4
