// softmax.cu for the executor.
#include "kernels/cuda/softmax.cu"
