// Matrix products, sort and scan from NVIDIA's libraries: cuBLASLt and CUB. device/library.cuh says what each function means.
#include <cublasLt.h>
#include <dlfcn.h>

#include <cub/cub.cuh>
#include <string>

#include "kernels/cuda/device/library.cuh"

namespace tradewind::kernels {
namespace {

void check_cublas(cublasStatus_t code, const char* call) {
  if (code == CUBLAS_STATUS_SUCCESS) return;
  throw DeviceError(std::string(call) + ": status " + std::to_string(static_cast<int>(code)) +
                    "; the driver may be older than this build's CUDA: update it, or set device = \"cpu\"");
}
#define TRADEWIND_CHECK_CUBLAS(function, ...) check_cublas(cublas().function(__VA_ARGS__), #function)

// cuBLASLt is half a gigabyte and only a machine with a GPU has it, so it is looked for when it is first needed: a binary with
// CUDA starts without it.
#define TRADEWIND_CUBLAS_FUNCTIONS(X)     \
  X(cublasLtCreate)                       \
  X(cublasLtDestroy)                      \
  X(cublasLtMatmul)                       \
  X(cublasLtMatmulAlgoGetHeuristic)       \
  X(cublasLtMatmulDescCreate)             \
  X(cublasLtMatmulDescDestroy)            \
  X(cublasLtMatmulDescSetAttribute)       \
  X(cublasLtMatmulPreferenceCreate)       \
  X(cublasLtMatmulPreferenceDestroy)      \
  X(cublasLtMatmulPreferenceSetAttribute) \
  X(cublasLtMatrixLayoutCreate)           \
  X(cublasLtMatrixLayoutDestroy)

struct Functions {
#define TRADEWIND_FUNCTION(name) decltype(&::name) name = nullptr;
  TRADEWIND_CUBLAS_FUNCTIONS(TRADEWIND_FUNCTION)
#undef TRADEWIND_FUNCTION

  Functions() {
    const std::string file = "libcublasLt.so." + std::to_string(CUBLAS_VER_MAJOR);
    void* found = dlopen(file.c_str(), RTLD_NOW | RTLD_LOCAL);
    if (found == nullptr)
      throw DeviceError(file + " was not found (" + dlerror() +
                        "): install CUDA's cuBLAS, or name its folder in LD_LIBRARY_PATH, or set device = \"cpu\"");
#define TRADEWIND_FUNCTION(name) name = reinterpret_cast<decltype(&::name)>(symbol(found, #name));
    TRADEWIND_CUBLAS_FUNCTIONS(TRADEWIND_FUNCTION)
#undef TRADEWIND_FUNCTION
  }
  static void* symbol(void* library, const char* name) {
    void* p = dlsym(library, name);
    if (p == nullptr) throw DeviceError(std::string("cuBLASLt has no ") + name + ": it is not the version of this build");
    return p;
  }
};

const Functions& cublas() {
  static const Functions functions;  // constant once found
  return functions;
}

/// A handle of cuBLASLt goes with its owner.
template <class T>
class Handle {
 public:
  explicit Handle(cublasStatus_t (*destroy)(T)) : destroy_(destroy) {}
  ~Handle() {
    if (value_ != nullptr) destroy_(value_);
  }
  Handle(const Handle&) = delete;
  Handle& operator=(const Handle&) = delete;
  T* address() { return &value_; }
  T get() const { return value_; }

 private:
  cublasStatus_t (*destroy_)(T);
  T value_ = nullptr;
};

cudaDataType_t type_of(DType type) {
  if (type == DType::kFloat32) return CUDA_R_32F;
  if (type == DType::kBFloat16) return CUDA_R_16BF;
  throw DeviceError(std::string("gemm: the CUDA arm multiplies float32 and bfloat16 and was given ") + name_of(type));
}

cublasLtHandle_t library() {
  static thread_local Handle<cublasLtHandle_t> handle(cublas().cublasLtDestroy);  // costs milliseconds, holds nothing of a call
  if (handle.get() == nullptr) TRADEWIND_CHECK_CUBLAS(cublasLtCreate, handle.address());
  return handle.get();
}

/// cuBLASLt adds a bias to each row of its column-major result: to each column of ours. Its GELU is the one by tanh.
cublasLtEpilogue_t kind_of(const GemmEpilogue& e) {
  const bool bias = e.bias != nullptr;
  if (e.activation == Activation::kRelu) return bias ? CUBLASLT_EPILOGUE_RELU_BIAS : CUBLASLT_EPILOGUE_RELU;
  if (e.activation == Activation::kNone) return bias ? CUBLASLT_EPILOGUE_BIAS : CUBLASLT_EPILOGUE_DEFAULT;
  if (e.before != nullptr) return bias ? CUBLASLT_EPILOGUE_GELU_AUX_BIAS : CUBLASLT_EPILOGUE_GELU_AUX;
  return bias ? CUBLASLT_EPILOGUE_GELU_BIAS : CUBLASLT_EPILOGUE_GELU;
}

void set_epilogue(cublasLtMatmulDesc_t description, const GemmEpilogue& e, DType c_type, std::int64_t c_stride) {
  require(gemm_has(e.activation, e.before != nullptr, c_type), "gemm", "no such epilogue");
  const auto set = [&](cublasLtMatmulDescAttributes_t attribute, const auto& value) {
    TRADEWIND_CHECK_CUBLAS(cublasLtMatmulDescSetAttribute, description, attribute, &value, sizeof value);
  };
  set(CUBLASLT_MATMUL_DESC_EPILOGUE, kind_of(e));
  if (e.bias != nullptr) {
    set(CUBLASLT_MATMUL_DESC_BIAS_POINTER, e.bias);
    set(CUBLASLT_MATMUL_DESC_BIAS_DATA_TYPE, type_of(c_type));
  }
  if (e.before == nullptr) return;
  set(CUBLASLT_MATMUL_DESC_EPILOGUE_AUX_POINTER, e.before);
  set(CUBLASLT_MATMUL_DESC_EPILOGUE_AUX_LD, c_stride);
  set(CUBLASLT_MATMUL_DESC_EPILOGUE_AUX_DATA_TYPE, type_of(c_type));
}

constexpr std::size_t kWorkspaceBytes = std::size_t{32} << 20;  // what NVIDIA recommends for Hopper

/// What the address is a multiple of, as far as cuBLASLt asks: it takes 256 bytes for granted where it is not told.
std::uint32_t alignment_of(const void* p) {
  const auto address = reinterpret_cast<std::uintptr_t>(p) | 256;
  return static_cast<std::uint32_t>(address & (~address + 1));
}

}  // namespace

// cuBLASLt is column-major: a row-major matrix is its transpose there, so c^T = op(b)^T op(a)^T is asked for.
void gemm(void* c, DType c_type, const void* a, const void* b, DType type, const GemmShape& s, const Launch& launch,
          const GemmEpilogue& epilogue) {
  if (s.m == 0 || s.n == 0) return;
  const cublasOperation_t first = s.b_transposed ? CUBLAS_OP_T : CUBLAS_OP_N,
                          second = s.a_transposed ? CUBLAS_OP_T : CUBLAS_OP_N;
  const auto rows = [](std::int64_t x) { return static_cast<std::uint64_t>(x); };
  Handle<cublasLtMatmulDesc_t> description(cublas().cublasLtMatmulDescDestroy);
  TRADEWIND_CHECK_CUBLAS(cublasLtMatmulDescCreate, description.address(), CUBLAS_COMPUTE_32F, CUDA_R_32F);
  TRADEWIND_CHECK_CUBLAS(cublasLtMatmulDescSetAttribute, description.get(), CUBLASLT_MATMUL_DESC_TRANSA, &first, sizeof first);
  TRADEWIND_CHECK_CUBLAS(cublasLtMatmulDescSetAttribute, description.get(), CUBLASLT_MATMUL_DESC_TRANSB, &second,
                         sizeof second);
  set_epilogue(description.get(), epilogue, c_type, s.c_stride);
  Handle<cublasLtMatrixLayout_t> left(cublas().cublasLtMatrixLayoutDestroy), right(cublas().cublasLtMatrixLayoutDestroy),
      result(cublas().cublasLtMatrixLayoutDestroy);
  TRADEWIND_CHECK_CUBLAS(cublasLtMatrixLayoutCreate, left.address(), type_of(type), rows(s.b_transposed ? s.k : s.n),
                         rows(s.b_transposed ? s.n : s.k), s.b_stride);
  TRADEWIND_CHECK_CUBLAS(cublasLtMatrixLayoutCreate, right.address(), type_of(type), rows(s.a_transposed ? s.m : s.k),
                         rows(s.a_transposed ? s.k : s.m), s.a_stride);
  TRADEWIND_CHECK_CUBLAS(cublasLtMatrixLayoutCreate, result.address(), type_of(c_type), rows(s.n), rows(s.m), s.c_stride);
  Handle<cublasLtMatmulPreference_t> preference(cublas().cublasLtMatmulPreferenceDestroy);
  TRADEWIND_CHECK_CUBLAS(cublasLtMatmulPreferenceCreate, preference.address());
  const auto prefer = [&](cublasLtMatmulPreferenceAttributes_t attribute, const auto& value) {
    TRADEWIND_CHECK_CUBLAS(cublasLtMatmulPreferenceSetAttribute, preference.get(), attribute, &value, sizeof value);
  };
  prefer(CUBLASLT_MATMUL_PREF_MAX_WORKSPACE_BYTES, kWorkspaceBytes);
  prefer(CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_A_BYTES, alignment_of(b));
  prefer(CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_B_BYTES, alignment_of(a));
  prefer(CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_C_BYTES, alignment_of(c));
  prefer(CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_D_BYTES, alignment_of(c));
  cublasLtMatmulHeuristicResult_t choice{};
  int found = 0;
  TRADEWIND_CHECK_CUBLAS(cublasLtMatmulAlgoGetHeuristic, library(), description.get(), left.get(), right.get(), result.get(),
                         result.get(), preference.get(), 1, &choice, &found);
  if (found == 0)
    throw DeviceError("gemm: cuBLASLt has no kernel for " + std::to_string(s.m) + " x " + std::to_string(s.n) + " x " +
                      std::to_string(s.k) + "; strides and pointers should be multiples of 16 bytes");
  const ScratchArray<std::uint8_t> workspace(launch, choice.workspaceSize);
  TRADEWIND_CHECK_CUBLAS(cublasLtMatmul, library(), description.get(), &s.alpha, b, left.get(), a, right.get(), &s.beta, c,
                         result.get(), c, result.get(), &choice.algo, workspace.get(), choice.workspaceSize,
                         native(launch.stream));
}

namespace {

template <class Key, class Value>
void sort(Key* keys_out, Value* values_out, const Key* keys, const Value* values, std::int64_t count, int bits,
          const Launch& launch) {
  if (count == 0) return;
  std::size_t bytes = 0;
  TRADEWIND_CHECK_CUDA(cub::DeviceRadixSort::SortPairs(nullptr, bytes, keys, keys_out, values, values_out, count, 0, bits,
                                                       native(launch.stream)));
  const ScratchArray<std::uint8_t> workspace(launch, bytes);
  TRADEWIND_CHECK_CUDA(cub::DeviceRadixSort::SortPairs(workspace.get(), bytes, keys, keys_out, values, values_out, count, 0,
                                                       bits, native(launch.stream)));
}

}  // namespace

void sort_pairs(std::uint64_t* keys_out, std::int32_t* values_out, const std::uint64_t* keys, const std::int32_t* values,
                std::int64_t count, int bits, const Launch& launch) {
  sort(keys_out, values_out, keys, values, count, bits, launch);
}
void sort_pairs(std::uint32_t* keys_out, std::uint32_t* values_out, const std::uint32_t* keys, const std::uint32_t* values,
                std::int64_t count, int bits, const Launch& launch) {
  sort(keys_out, values_out, keys, values, count, bits, launch);
}

void exclusive_sum(std::int64_t* out, const std::int64_t* in, std::int64_t count, const Launch& launch) {
  if (count == 0) return;
  std::size_t bytes = 0;
  TRADEWIND_CHECK_CUDA(cub::DeviceScan::ExclusiveSum(nullptr, bytes, in, out, count, native(launch.stream)));
  const ScratchArray<std::uint8_t> workspace(launch, bytes);
  TRADEWIND_CHECK_CUDA(cub::DeviceScan::ExclusiveSum(workspace.get(), bytes, in, out, count, native(launch.stream)));
}

void inclusive_sum(std::uint32_t* out, const std::uint32_t* in, std::int64_t count, const Launch& launch) {
  if (count == 0) return;
  std::size_t bytes = 0;
  TRADEWIND_CHECK_CUDA(cub::DeviceScan::InclusiveSum(nullptr, bytes, in, out, count, native(launch.stream)));
  const ScratchArray<std::uint8_t> workspace(launch, bytes);
  TRADEWIND_CHECK_CUDA(cub::DeviceScan::InclusiveSum(workspace.get(), bytes, in, out, count, native(launch.stream)));
}

}  // namespace tradewind::kernels
