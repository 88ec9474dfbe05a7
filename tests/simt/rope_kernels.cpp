// rope.cu for the executor.
#include "kernels/cuda/rope.cu"
