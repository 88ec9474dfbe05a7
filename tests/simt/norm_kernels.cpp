// norm.cu for the executor.
#include "kernels/cuda/norm.cu"
