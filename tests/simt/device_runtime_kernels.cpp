// device_runtime.cu for the executor.
#include "kernels/cuda/device_runtime.cu"
