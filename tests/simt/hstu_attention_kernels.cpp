// hstu_attention.cu for the executor.
#include "kernels/cuda/hstu_attention.cu"
