#!/usr/bin/env python3
"""No unfinished work or merge and no path of one particular machine is in the repository; and no file is longer than we like to read.

Length only warns: a header of more than 200 lines, a source of more than 400 (attention 800).
"""
import os
import re
import subprocess
import sys

# Put together here, so that this file does not find itself.
UNFINISHED = re.compile(r"\b(" + "|".join(["TO" + "DO", "FIX" + "ME", "XX" + "X", "HA" + "CK", "T" + "BD"]) + r")\b")
MACHINE = re.compile(r"(/" + r"work/(main|shared)\b|/" + r"tmp/(wt|bin)/|\.\./" + r"shared/|/" + r"home/\w+/|/" + r"root/)")
CONFLICT = re.compile(r"^(<{7}|>{7}|\|{7}) ")  # what a merge leaves behind
BINARY = (".safetensors", ".h5", ".gz", ".zst", ".xz", ".png", ".bin", ".npy")


def check(path, text):
    out = []
    for number, line in enumerate(text.splitlines(), 1):
        if UNFINISHED.search(line):
            out.append(f"{path}:{number}: unfinished: {line.strip()[:100]}")
        if MACHINE.search(line):
            out.append(f"{path}:{number}: a path of one machine: {line.strip()[:100]}")
        if CONFLICT.search(line):
            out.append(f"{path}:{number}: a merge was left unfinished: {line.strip()[:100]}")
    return out


def too_long(path, text):
    limit = 200 if path.endswith((".h", ".cuh")) else 400 if path.endswith((".cpp", ".cu")) else 0
    if "attention" in path and limit == 400:
        limit = 800
    lines = text.count("\n")
    return f"WARNING {path} has {lines} lines, {limit} is what we like" if limit and lines > limit else ""


def self_test():
    for text in ("// TO" + "DO: later", "x = 1  # FIX" + "ME", "see /" + "work/main/x", "cp ../" + "shared/data .",
                 "<" * 7 + " HEAD"):
        if not check("x.cpp", text):
            sys.exit(f"self-test: {text!r} was not found")
    if check("x.cpp", "the method to do it; auto donut") or not too_long("a.h", "\n" * 201):
        sys.exit("self-test: a rule is wrong")


def main():
    self_test()
    os.chdir(os.environ.get("TRADEWIND_SOURCE") or os.path.join(os.path.dirname(os.path.abspath(__file__)), "../.."))
    files = subprocess.run(["git", "ls-files", "--cached", "--others", "--exclude-standard"], check=True,
                           capture_output=True, text=True).stdout.splitlines()
    offences = []
    for path in files:
        if path.endswith(BINARY) or not os.path.isfile(path):
            continue
        try:
            with open(path, encoding="utf-8") as file:
                text = file.read()
        except UnicodeDecodeError:
            continue  # test data that is broken on purpose
        offences += check(path, text)
        if not path.startswith("tests/"):
            warning = too_long(path, text)
            if warning:
                print(warning)
    if offences:
        print("\n".join(offences))
        sys.exit(f"{len(offences)} lines should not be in the repository")
    print(f"{len(files)} files are free of unfinished words and machine paths")


if __name__ == "__main__":
    main()
