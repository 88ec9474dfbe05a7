// candidate_loss.cu for the executor.
#include "kernels/cuda/candidate_loss.cu"
