// MPI: starting and leaving it, and the collectives over it.
//
// FUNNELED: the main thread alone calls it. Not a type of MPI is visible here.
#pragma once

#include <cstdint>
#include <memory>
#include <string>

#include "runtime/comm/communicator.h"
#include "runtime/comm/flight_recorder.h"

namespace tradewind::runtime {

/// A launcher (mpirun, or srun with PMIx) started this process as one of several ranks. Looks at the environment alone: a
/// program that is started by itself never touches MPI, whose start costs a tenth of a second and a network.
bool launched_as_rank();

/// As the launcher says, without MPI: this rank and how many there are; 0 of 1 for a program that is started by itself.
struct LaunchedRank {
  int rank = 0, size = 1;
};
LaunchedRank launched_rank();

/// Initialises MPI. Throws CommError.
void start_mpi();
/// Collective. Nothing of MPI may be used after it.
void finish_mpi();
/// "Open MPI v4.1.4, ..."
std::string mpi_version();

/// Ends this process at once, from any thread and whatever the main thread does; for SideChannelOptions::leave. Under mpirun
/// exit codes arrive as they are. Under srun a job of which one rank was killed counts as killed (137), unless a rank called
/// MPI_Abort: there the rank that decided calls it, though MPI knows only the main thread (in Open MPI it is a message to the
/// local daemon), with a second for it to return.
[[noreturn]] void leave_mpi(int code, bool decided);

/// All ranks of the job. `recorder` (may be null) is told of every collective. `piece`: the most elements that go through one
/// call of MPI, whose counts have 31 bits. Reductions take all dtypes but bfloat16. Throws CommError with collective, rank and
/// bytes.
std::unique_ptr<Communicator> make_mpi_communicator(FlightRecorder* recorder, std::int64_t piece = 1 << 28);

}  // namespace tradewind::runtime
