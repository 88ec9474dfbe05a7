// linear_cross_entropy.cu for the executor.
#include "kernels/cuda/linear_cross_entropy.cu"
