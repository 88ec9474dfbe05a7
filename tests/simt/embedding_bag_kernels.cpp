// embedding_bag.cu for the executor.
#include "kernels/cuda/embedding_bag.cu"
