// dropout.cu for the executor.
#include "kernels/cuda/dropout.cu"
