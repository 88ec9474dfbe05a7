// A preload library: one all-reduce of this process, the one number SKIP_ALL_REDUCE, is not made.
#include <mpi.h>
#include <stdlib.h>

int MPI_Allreduce(const void* send, void* receive, int count, MPI_Datatype type, MPI_Op op, MPI_Comm comm) {
  static int calls = 0;
  const char* which = getenv("SKIP_ALL_REDUCE");
  if (which != NULL && ++calls == atoi(which)) return MPI_SUCCESS;
  return PMPI_Allreduce(send, receive, count, type, op, comm);
}
