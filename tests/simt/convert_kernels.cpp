// convert.cu for the executor.
#include "kernels/cuda/convert.cu"
