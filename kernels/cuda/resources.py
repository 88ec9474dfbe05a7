#!/usr/bin/env python3
"""Registers, spills, shared memory and occupancy of the CUDA kernels, from what ptxas said when they were built.

    kernels/cuda/resources.py build/cuda            prints the table of kernels/README.md
    kernels/cuda/resources.py build/cuda --check    fails where a kernel spills, or where the README's table is not this one
    kernels/cuda/resources.py build/cuda --write    writes it there
"""
import argparse
import glob
import os
import re
import subprocess
import sys

README = os.path.join(os.path.dirname(os.path.abspath(__file__)), "../README.md")
BEGIN, END = "<!-- resources: kernels/cuda/resources.py -->", "<!-- end of resources -->"
# An SM of sm_80 (A100) and sm_90 (H100, H200): registers, shared memory in bytes (1 KiB a block is the system's), threads.
MACHINES = {"sm_80": (65536, 164 * 1024, 2048), "sm_90": (65536, 228 * 1024, 2048)}


def stride(t, d):
    return d * t + 16  # bytes of a tile's row, kernels/cuda/device/mma_tile.cuh


# (threads, dynamic shared bytes) of a kernel from its template arguments: element bytes, then numbers. As in the .cuh files.
SHAPES = {
    "attention_forward_kernel": lambda t, d, m, c, *_: (128, (64 * m + 4 * c) * stride(t, d)),
    "attention_query_gradient_kernel": lambda t, d, c, *_: (128, (128 + 4 * c) * stride(t, d)),
    "attention_key_gradient_kernel": lambda t, d, c, *_: (128, (128 + 4 * c) * stride(t, d) + 2 * c * 16),
    "attention_bias_gradient_kernel": lambda t, d, c, *_: (128, (128 + 2 * c) * stride(t, d)),
    "attention_delta_kernel": lambda t, *_: (256, 0),
    "cross_entropy_kernel": lambda t, *_: (256, 128),
    "column_sum_kernel": lambda t, *_: (256, 32 * 64 * 4),
    "bias_activation_kernel": lambda t, *_: (256, 0),
    "stable_product_kernel": lambda t, *_: (128, 128 * stride(t, 64)),
    "activation_forward_kernel": lambda t, *_: (256, 0),
    "activation_backward_kernel": lambda t, *_: (256, 0),
    "swiglu_forward_kernel": lambda t, *_: (256, 0),
    "swiglu_backward_kernel": lambda t, *_: (256, 0),
    "dropout_kernel": lambda t, *_: (256, 0),
    "norm_forward_kernel": lambda t, *_: (256, 256),
    "norm_backward_kernel": lambda t, *_: (256, 32 * 1024),
    "convert_kernel": lambda *_: (256, 0),
    "update_kernel": lambda *_: (256, 264 * 8),
    "squared_norm_kernel": lambda *_: (256, 64),
    "recurrent_start_kernel": lambda *_: (256, 0),
    "gru_forward_kernel": lambda *_: (256, 0),
    "lstm_forward_kernel": lambda *_: (256, 0),
    "gru_backward_kernel": lambda *_: (256, 0),
    "lstm_backward_kernel": lambda *_: (256, 0),
    "recurrent_start_gradient_kernel": lambda *_: (256, 0),
    "rope_kernel": lambda t, *_: (256, 2048),  # of heads of up to 512
    "softmax_forward_kernel": lambda *_: (256, 0),
    "softmax_backward_kernel": lambda *_: (256, 0),
    "long_softmax_forward_kernel": lambda *_: (256, 128),
    "long_softmax_backward_kernel": lambda *_: (256, 64),
    "largest_kernel": lambda *_: (256, 64),
    "draw_kernel": lambda *_: (256, 328),
    "own_negatives_kernel": lambda *_: (256, 0),
    "gather_negatives_kernel": lambda *_: (256, 0),
    "shared_negatives_kernel": lambda *_: (256, 0),
    "positives_kernel": lambda *_: (256, 0),
    "offsets_kernel": lambda *_: (256, 0),
    "scatter_rows_kernel": lambda *_: (256, 0),
    "gate_kernel": lambda *_: (256, 0),
    "hstu_forward_kernel": lambda t, d, c, *_: (128, 1584 + (64 + 4 * c) * stride(t, d)),
    "hstu_query_gradient_kernel": lambda t, d, c, *_: (128, 1584 + (128 + 4 * c) * stride(t, d)),
    "hstu_key_gradient_kernel": lambda t, d, c, *_: (128, 1584 + (128 + 4 * c) * stride(t, d)),
    # of 129 buckets of time
    "hstu_bias_gradient_kernel": lambda t, d, c, *_: (128, 1584 + (64 + c) * stride(t, d) + 64 * (c + 1) * 4 + 129 * 128 * 4),
    "l2_normalize_forward_kernel": lambda *_: (256, 0),
    "l2_normalize_backward_kernel": lambda *_: (256, 0),
    "rank_kernel": lambda *_: (256, 9 * 8 * 4),
    "select_kernel": lambda *_: (256, (16 * 256 + 32) * 4),
    "decode_kernel": lambda *_: (256, 0),
    "embedding_forward_kernel": lambda *_: (256, 0),
    "bag_forward_kernel": lambda *_: (256, 0),
    "bag_weight_gradient_kernel": lambda *_: (256, 0),
    "bag_sum_kernel": lambda *_: (256, 0),
    "bag_add_chunks_kernel": lambda *_: (256, 0),
    "row_update_kernel": lambda *_: (256, 0),
    "sparse_update_kernel": lambda *_: (256, 0),
    "rowwise_adagrad_kernel": lambda *_: (256, 0),
}
ENTRY = re.compile(r"Compiling entry function '(\S+)' for '(sm_\d+)'\n(.*?)Used (\d+) registers", re.S)
SPILL = re.compile(r"(\d+) bytes stack frame, (\d+) bytes spill stores, (\d+) bytes spill loads")


def kernels(build):
    """(architecture, name, template arguments, registers, spilled bytes) of every kernel in the build."""
    logs = glob.glob(os.path.join(build, "**", "*.ptxas"), recursive=True)
    if not logs:
        sys.exit(f"{build} has no *.ptxas: was it built with -DTRADEWIND_CUDA=on?")
    found = set()
    for log in logs:
        with open(log, encoding="utf-8") as file:
            for mangled, architecture, between, registers in ENTRY.findall(file.read()):
                name = subprocess.run(["c++filt", mangled], capture_output=True, text=True, check=True).stdout
                match = re.search(r"(\w+)(?:<([^(]*)>)?\(", name.replace("(anonymous namespace)::", "").replace("tradewind::kernels::", ""))
                if not match or match.group(1) not in SHAPES:
                    continue  # of the tests
                arguments = [a.strip() for a in (match.group(2) or "float").split(",")]
                spills = SPILL.search(between)
                found.add((architecture, match.group(1), tuple(arguments), int(registers), int(spills.group(2)) if spills else 0))
    return sorted(found)


def blocks_per_sm(architecture, registers, threads, shared):
    all_registers, all_shared, all_threads = MACHINES[architecture]
    by_registers = all_registers // (-(-registers // 8) * 8 * threads)
    return min(by_registers, all_shared // (shared + 1024), all_threads // threads, 32)


def rows(found):
    """One line a kernel, element type and head size: the largest figures of its variants."""
    lines = {}
    for architecture, name, arguments, registers, _ in found:
        size = 2 if arguments[0].endswith("BFloat16") else 4  # also of a RowShape, whose numbers are not a head size
        numbers = [int(a) for a in arguments[1:] if a.isdigit()] if not arguments[0].startswith("RowShape") else []
        threads, shared = SHAPES[name](size, *numbers)
        key = (name.replace("_kernel", ""), "bfloat16" if size == 2 else "float32", numbers[0] if numbers else 0)
        entry = lines.setdefault(key, {"registers": {}, "shared": 0, "blocks": {}, "threads": threads})
        entry["registers"][architecture] = max(entry["registers"].get(architecture, 0), registers)
        entry["shared"] = max(entry["shared"], shared)
        blocks = blocks_per_sm(architecture, registers, threads, shared)
        entry["blocks"][architecture] = min(entry["blocks"].get(architecture, 99), blocks)
    return lines


def table(found):
    architectures = sorted({k[0] for k in found})
    out = ["| kernel | element | D | threads | registers " + " / ".join(architectures) + " | shared KiB | blocks an SM " + " / ".join(architectures) + " |",
           "|---|---|---|---|---|---|---|"]
    for (name, element, d), e in sorted(rows(found).items()):
        registers = " / ".join(str(e["registers"].get(a, "")) for a in architectures)
        blocks = " / ".join(str(e["blocks"].get(a, "")) for a in architectures)
        out.append(f"| {name} | {element} | {d or 'any'} | {e['threads']} | {registers} | {e['shared'] / 1024:.1f} | {blocks} |")
    return "\n".join(out)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("build")
    parser.add_argument("--check", action="store_true")
    parser.add_argument("--write", action="store_true")
    arguments = parser.parse_args()
    found = kernels(arguments.build)
    text = table(found)
    with open(README, encoding="utf-8") as file:
        readme = file.read()
    before, rest = readme.split(BEGIN)
    now, after = rest.split(END)
    if arguments.write:
        with open(README, "w", encoding="utf-8") as file:
            file.write(before + BEGIN + "\n" + text + "\n" + END + after)
    elif not arguments.check:
        print(text)
        return
    spilling = [k for k in found if k[4] > 0]
    for architecture, name, template, registers, spilled in spilling:
        print(f"{name}<{', '.join(template)}> for {architecture}: {registers} registers and {spilled} bytes spilled")
    if spilling:
        sys.exit("kernels spill: make their tiles smaller")
    if arguments.check and now.strip() != text.strip():
        print(text)
        sys.exit("the table in kernels/README.md is not this one; with the same nvcc: kernels/cuda/resources.py BUILD --write")
    print(f"{len(found)} kernels, none spills")


if __name__ == "__main__":
    main()
