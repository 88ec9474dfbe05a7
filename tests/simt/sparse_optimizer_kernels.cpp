// sparse_optimizer.cu for the executor.
#include "kernels/cuda/sparse_optimizer.cu"
