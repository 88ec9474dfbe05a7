#!/usr/bin/env bash
# What `cmake --install` leaves is complete: the binary runs, and a program out of this tree finds the package, includes our
# headers and links against tradewind::launcher.
set -euo pipefail
build=${TRADEWIND_BUILD:?run this through tests/run}
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
ninja -C "$build" tradewind >/dev/null
cmake --install "$build" --prefix "$scratch/prefix" >"$scratch/install.log" || { cat "$scratch/install.log"; exit 1; }
test -x "$scratch/prefix/bin/tradewind"
test -f "$scratch/prefix/share/tradewind/configs/language/gpt-shakespeare.toml"
share=$scratch/prefix/share
grep -q '^\.TH TRADEWIND 1' "$share/man/man1/tradewind.1"
grep -q '^complete -F _tradewind tradewind' "$share/bash-completion/completions/tradewind"
grep -q '^#compdef tradewind' "$share/zsh/site-functions/_tradewind"
grep -q '^complete -c tradewind' "$share/fish/vendor_completions.d/tradewind.fish"
bash -n "$share/bash-completion/completions/tradewind"

mkdir "$scratch/user"
cat >"$scratch/user/CMakeLists.txt" <<'END'
cmake_minimum_required(VERSION 3.22)
project(user LANGUAGES CXX)
find_package(tradewind 0.1 REQUIRED)
add_executable(user main.cpp)
target_link_libraries(user PRIVATE tradewind::launcher)
file(GENERATE OUTPUT ${CMAKE_BINARY_DIR}/configs.txt CONTENT "${tradewind_CONFIGS}\n")
END
cat >"$scratch/user/main.cpp" <<'END'
#include <cstdio>

#include "kernels/base/isa.h"
#include "runtime/core/tensor.h"

int main() {
  using namespace tradewind;
  const runtime::Tensor tensor(runtime::host_allocator(), {2, 3}, kernels::DType::kFloat32);
  tensor.fill(1.0F);
  std::printf("%s %s\n", tensor.shape().text().c_str(), kernels::active_isa().c_str());
}
END
cmake -S "$scratch/user" -B "$scratch/user/build" -G Ninja -DCMAKE_BUILD_TYPE=Release -DCMAKE_PREFIX_PATH="$scratch/prefix" \
  >"$scratch/user.log" 2>&1 && ninja -C "$scratch/user/build" >>"$scratch/user.log" 2>&1 || { cat "$scratch/user.log"; exit 1; }
"$scratch/user/build/user" | grep -F '[2, 3]'
test -d "$(cat "$scratch/user/build/configs.txt")/language"
