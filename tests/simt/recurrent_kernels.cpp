// recurrent.cu for the executor.
#include "kernels/cuda/recurrent.cu"
