// optimizer.cu for the executor.
#include "kernels/cuda/optimizer.cu"
