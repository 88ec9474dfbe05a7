# The CUDA backend: -DTRADEWIND_CUDA=auto (where nvcc is), on or off; -DTRADEWIND_CUDA_ARCHITECTURES="80;90-real" as
# CMAKE_CUDA_ARCHITECTURES takes them: 80 is machine code for sm_80 and its PTX, which later GPUs translate.
# Sets TRADEWIND_WITH_CUDA. The run-time library is linked statically; it looks for the driver when it is first called.
set(TRADEWIND_CUDA "auto" CACHE STRING "CUDA backend: auto (where nvcc is), on, off")
set_property(CACHE TRADEWIND_CUDA PROPERTY STRINGS auto on off)
set(TRADEWIND_CUDA_ARCHITECTURES "80;90-real" CACHE STRING "GPU architectures, as CMAKE_CUDA_ARCHITECTURES")

string(TOLOWER "${TRADEWIND_CUDA}" wanted)
if(NOT wanted MATCHES "^(auto|on|off)$")
  message(FATAL_ERROR "TRADEWIND_CUDA is '${TRADEWIND_CUDA}'; it may be auto, on or off")
endif()
set(TRADEWIND_WITH_CUDA OFF)
if(NOT wanted STREQUAL "off")
  find_program(TRADEWIND_NVCC nvcc HINTS /usr/local/cuda/bin)
  if(TRADEWIND_NVCC)
    set(TRADEWIND_WITH_CUDA ON)
  elseif(wanted STREQUAL "on")
    message(FATAL_ERROR "TRADEWIND_CUDA=on needs nvcc (CUDA 12 or later); put it on PATH, or configure with -DTRADEWIND_CUDA=off")
  endif()
endif()

if(TRADEWIND_WITH_CUDA)
  set(CMAKE_CUDA_COMPILER ${TRADEWIND_NVCC})
  set(CMAKE_CUDA_ARCHITECTURES ${TRADEWIND_CUDA_ARCHITECTURES})
  set(CMAKE_CUDA_RUNTIME_LIBRARY Static)
  if(NOT CMAKE_CUDA_COMPILER_LAUNCHER)
    set(CMAKE_CUDA_COMPILER_LAUNCHER ${CMAKE_CURRENT_LIST_DIR}/nvcc_launcher)
    if(TRADEWIND_CCACHE)
      list(APPEND CMAKE_CUDA_COMPILER_LAUNCHER ${TRADEWIND_CCACHE})
    endif()
  endif()
  enable_language(CUDA)
  if(NOT CMAKE_CUDA20_STANDARD_COMPILE_OPTION)  # CMake 3.25 does not know that nvcc has C++20
    set(CMAKE_CUDA20_STANDARD_COMPILE_OPTION "-std=c++20")
    set(CMAKE_CUDA20_EXTENSION_COMPILE_OPTION "-std=c++20")
  endif()
  # Debian's packages name /usr/include; before the compiler's own folders it would hide <math.h> from <cmath>.
  list(APPEND CMAKE_CUDA_IMPLICIT_INCLUDE_DIRECTORIES /usr/include)
  find_package(CUDAToolkit REQUIRED)
  message(STATUS "CUDA ${CMAKE_CUDA_COMPILER_VERSION} for ${CMAKE_CUDA_ARCHITECTURES}")
endif()

# Warnings of both compilers; ptxas tells what each kernel takes (kernels/cuda/resources.py).
function(tradewind_cuda_flags target)
  target_compile_options(${target} PRIVATE
    "$<$<COMPILE_LANGUAGE:CUDA>:-Xcompiler=-Wall,-Wextra,-Wshadow;-Xptxas=-v;--threads=2>"
    "$<$<AND:$<COMPILE_LANGUAGE:CUDA>,$<BOOL:${TRADEWIND_WERROR}>>:--Werror=all-warnings>")
endfunction()
