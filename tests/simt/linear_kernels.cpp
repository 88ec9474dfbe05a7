// linear.cu for the executor.
#include "kernels/cuda/linear.cu"
