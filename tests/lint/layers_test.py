#!/usr/bin/env python3
"""Includes point down only: launcher -> models -> runtime -> kernels.

An #include "floor/..." of a floor above, or of a path that is not rooted at the repository, fails. Kernels know pointers and
sizes, never tensors, MPI or config; models know neither ranks nor files nor CUDA. CUDA's own headers, cuBLASLt's and CUB's are
included by the few files that stand for them on the executor too, so by no kernel. The test first plants each offence and must
see it.
"""
import os
import re
import subprocess
import sys

ALLOWED = {
    "kernels": {"kernels"},
    "runtime": {"kernels", "runtime"},
    "models": {"kernels", "runtime", "models"},
    "launcher": {"kernels", "runtime", "models", "launcher"},
    "tests": {"kernels", "runtime", "models", "launcher", "tests"},
}
# System headers that a floor never knows.
FORBIDDEN = {
    "kernels": re.compile(r"^(mpi|hdf5|H5|toml\+\+|toml|nlohmann|CLI|spdlog|filesystem|fstream)\b"),
    "models": re.compile(r"^(mpi|nccl|cuda|cublas|filesystem|fstream|CLI|toml\+\+)"),
    "runtime": re.compile(r"^CLI\b"),
}
# Of the whole tree outside tests/: what tests/simt has a stand-in for.
CUDA = re.compile(r"^(cuda|cub|cublas|thrust|cooperative_groups|mma\.h|crt/)")
KNOW_CUDA = {"kernels/cuda/library.cu", "kernels/cuda/device/cudart.cuh", "kernels/cuda/device/cuda_error.h"}
INCLUDE = re.compile(r'^\s*#\s*include\s*([<"])([^>"]+)[>"]')
# The headers whose implementation is compiled once an instruction set name their own file through a macro.
SOURCES = (".h", ".hpp", ".cpp", ".cu", ".cuh")


def check(path, text):
    """The offences of one file, as lines."""
    floor = path.split("/")[0]
    out = []
    if floor not in ALLOWED:
        return out
    for number, line in enumerate(text.splitlines(), 1):
        match = INCLUDE.match(line)
        if not match:
            continue
        kind, target = match.groups()
        where = f"{path}:{number}"
        if kind == "<":
            if floor in FORBIDDEN and FORBIDDEN[floor].match(target):
                out.append(f"{where}: {floor}/ never knows <{target}> (see ARCHITECTURE in {floor}/README.md)")
            elif floor != "tests" and CUDA.match(target) and path not in KNOW_CUDA:
                out.append(f"{where}: <{target}> is reached through kernels/cuda/device (simt.cuh, stream.cuh, library.cuh) alone")
            continue
        top = target.split("/")[0]
        if top not in ALLOWED:
            out.append(f'{where}: "{target}" is not rooted at the repository; write "{floor}/.../{target.split("/")[-1]}"')
        elif top not in ALLOWED[floor]:
            out.append(f'{where}: {floor}/ includes "{target}" from the floor above')
        elif floor != "kernels" and floor != "tests" and target.startswith("kernels/cpu/"):
            out.append(f'{where}: "{target}" is inside the kernels; include the op\'s contract header')
    return out


def self_test():
    """Each planted offence must be found, and what is allowed must not."""
    bad = [
        ("kernels/x.cpp", '#include "runtime/core/tensor.h"'),
        ("kernels/x.h", '#  include "models/registry.h"'),
        ("kernels/x.cpp", "#include <mpi.h>"),
        ("kernels/x.cpp", '#include "softmax.h"'),
        ("runtime/ops/x.cpp", '#include "models/language/gpt.h"'),
        ("runtime/ops/x.cpp", '#include "kernels/cpu/vector.h"'),
        ("models/x.h", '#include "launcher/run.h"'),
        ("models/x.h", "#include <filesystem>"),
        ("kernels/cuda/x.cu", "#include <cub/cub.cuh>"),
        ("kernels/cuda/device/x.cuh", "#include <cuda_bf16.h>"),
        ("runtime/core/x.cpp", "#include <cublasLt.h>"),
    ]
    good = [
        ("kernels/x.cpp", '#include "kernels/base/launch.h"\n#include <cstdint>\n#include <cmath>'),
        ("runtime/x.cpp", '#include "kernels/norm.h"\n#include <filesystem>'),
        ("models/x.cpp", '#include "runtime/nn/layers.h"\n#include "kernels/linear.h"'),
        ("launcher/x.cpp", '#include "models/registry.h"\n#include <CLI/CLI.hpp>'),
        ("tests/kernels/x_test.cpp", '#include "tests/support/oracle.h"\n#include <filesystem>'),
        ("tests/cuda/gpu.h", "#include <cuda_runtime_api.h>"),
        ("kernels/cuda/device/cudart.cuh", "#include <cuda_runtime.h>"),
    ]
    for path, text in bad:
        if not check(path, text):
            sys.exit(f"self-test: the offence {text!r} in {path} was not found")
    for path, text in good:
        if check(path, text):
            sys.exit(f"self-test: {text!r} in {path} is allowed and was found: {check(path, text)}")


def main():
    self_test()
    root = os.environ.get("TRADEWIND_SOURCE") or os.path.join(os.path.dirname(os.path.abspath(__file__)), "../..")
    os.chdir(root)
    files = subprocess.run(["git", "ls-files", "--cached", "--others", "--exclude-standard"], check=True,
                           capture_output=True, text=True).stdout.splitlines()
    offences, count = [], 0
    for path in files:
        if path.endswith(SOURCES) and os.path.exists(path):
            count += 1
            with open(path, encoding="utf-8") as file:
                offences += check(path, file.read())
    print("\n".join(offences))
    if offences:
        sys.exit(f"{len(offences)} includes point the wrong way")
    print(f"{count} files include downwards only")


if __name__ == "__main__":
    main()
