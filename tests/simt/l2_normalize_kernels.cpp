// l2_normalize.cu for the executor.
#include "kernels/cuda/l2_normalize.cu"
