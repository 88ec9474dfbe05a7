// activation.cu for the executor.
#include "kernels/cuda/activation.cu"
