// embedding.cu for the executor.
#include "kernels/cuda/embedding.cu"
