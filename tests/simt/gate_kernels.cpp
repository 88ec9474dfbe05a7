// gate.cu for the executor.
#include "kernels/cuda/gate.cu"
