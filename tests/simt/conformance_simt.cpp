// conformance.cu for the executor.
#include "tests/simt/conformance.cu"
