// attention.cu for the executor.
#include "kernels/cuda/attention.cu"
