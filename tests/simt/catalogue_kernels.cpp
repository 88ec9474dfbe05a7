// catalogue.cu for the executor.
#include "kernels/cuda/catalogue.cu"
