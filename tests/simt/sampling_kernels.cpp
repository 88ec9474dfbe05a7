// sampling.cu for the executor.
#include "kernels/cuda/sampling.cu"
