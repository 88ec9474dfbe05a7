// A preload library that makes one rank go wrong, as the environment says:
//   SKIP_ALL_REDUCE=K     its all-reduce number K is not made
//   CORRUPT_ALL_REDUCE=K  a bit of what its all-reduce number K of float32 gives is another
//   CORRUPT_BROADCAST=B   a bit of what it receives in broadcasts of at least B bytes is another
#include <mpi.h>
#include <stdlib.h>

static long number(const char* name) {
  const char* text = getenv(name);
  return text == NULL ? 0 : atol(text);
}

/// Bit 20 of the float in the middle: large enough to matter, never infinite.
static void corrupt(void* buffer, long bytes) { ((unsigned char*)buffer)[bytes / 8 * 4 + 2] ^= 0x10; }

int MPI_Allreduce(const void* send, void* receive, int count, MPI_Datatype type, MPI_Op op, MPI_Comm comm) {
  static long calls = 0, floats = 0;
  ++calls;
  if (type == MPI_FLOAT) ++floats;
  if (calls == number("SKIP_ALL_REDUCE")) return MPI_SUCCESS;
  const int result = PMPI_Allreduce(send, receive, count, type, op, comm);
  if (type == MPI_FLOAT && floats == number("CORRUPT_ALL_REDUCE")) corrupt(receive, 4L * count);
  return result;
}

int MPI_Bcast(void* buffer, int count, MPI_Datatype type, int root, MPI_Comm comm) {
  const int result = PMPI_Bcast(buffer, count, type, root, comm);
  const long least = number("CORRUPT_BROADCAST");
  int size = 0;
  PMPI_Type_size(type, &size);
  if (least > 0 && (long)count * size >= least) corrupt(buffer, (long)count * size);
  return result;
}
