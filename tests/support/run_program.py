#!/usr/bin/env python3
"""Runs one test program and counts its test cases. Used by tests/run; see the summary format there.

A Boost.Test program is asked for an XML report, from which the cases are counted; whatever else ends in *_test.sh or
*_test.py is one case. A program that crashes, hangs or leaves no report is a failure that carries its name. A case that
printed "SKIPPED <test>: <reason>" and checked nothing counts as skipped, not as passed.
"""
import argparse
import os
import re
import signal
import subprocess
import sys
import time
import xml.etree.ElementTree as ElementTree

SKIPPED = re.compile(r"^SKIPPED ([^:]+): (.+)$")
ENTERING = re.compile(r'Entering test case "(.+)"$')
LEAVING = re.compile(r'Leaving test case "(.+?)"')


def run(command, log, timeout):
    """Exit code (negative: the signal), or None where time ran out. The whole process group is ended then."""
    with open(log, "wb") as output:
        process = subprocess.Popen(command, stdout=output, stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL,
                                   start_new_session=True)
        try:
            return process.wait(timeout)
        except subprocess.TimeoutExpired:
            return None
        finally:
            try:
                os.killpg(process.pid, signal.SIGKILL)  # also what a test left behind
            except ProcessLookupError:
                pass
            process.wait()


def read_skips(log):
    """[(case or None, test, reason)] in the order printed."""
    skips, case = [], None
    with open(log, errors="replace") as lines:
        for line in lines:
            line = line.rstrip("\n")
            entering, leaving, skip = ENTERING.search(line), LEAVING.search(line), SKIPPED.match(line)
            if entering:
                case = entering.group(1)
            elif leaving:
                case = None
            elif skip:
                skips.append((case, skip.group(1), skip.group(2)))
    return skips


def read_cases(report):
    """[(name, suite path, result, assertions)] of a Boost.Test XML report, or None where there is none that parses."""
    try:
        root = ElementTree.parse(report).getroot()
    except (OSError, ElementTree.ParseError):
        return None
    cases = []

    def walk(node, path):
        for child in node:
            name = child.get("name", "")
            if child.tag == "TestSuite":
                walk(child, path if node is root else path + [name])
            elif child.tag == "TestCase":
                checked = sum(int(child.get(key, 0)) for key in ("assertions_passed", "assertions_failed"))
                cases.append((name, "/".join(path + [name]), child.get("result", "failed"), checked))

    walk(root, [])
    return cases


def outcome_text(code, timeout):
    if code is None:
        return f"did not end within {timeout} s"
    if code < 0:
        try:
            return f"was ended by {signal.Signals(-code).name}"
        except ValueError:
            return f"was ended by signal {-code}"
    return f"ended with exit code {code}"


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--name", required=True)
    parser.add_argument("--log", required=True)
    parser.add_argument("--timeout", type=int, default=600)
    parser.add_argument("command")
    args = parser.parse_args()

    script = args.command.endswith((".sh", ".py"))
    report = args.log + ".xml"
    command = [args.command]
    if args.command.endswith(".py"):
        command = [sys.executable, args.command]
    elif not script:
        command += ["--log_level=test_suite", "--color_output=no", "--report_level=detailed", "--report_format=XML",
                    "--report_sink=" + report]
        if os.path.exists(report):
            os.remove(report)
    begin = time.monotonic()
    try:
        code = run(command, args.log, args.timeout)
    except OSError as error:
        with open(args.log, "w") as log:
            log.write(f"cannot start {args.command}: {error}\n")
        code = 127
    seconds = time.monotonic() - begin

    skips = read_skips(args.log)
    failures, passed, skipped = [], 0, len(skips)
    if script:
        if code != 0:
            failures.append(f"{args.name}: {outcome_text(code, args.timeout)}")
        elif not skips:
            passed = 1
    else:
        cases = read_cases(report)
        if cases is None:
            failures.append(f"{args.name}: {outcome_text(code, args.timeout)} and left no report of its test cases")
        else:
            for name, path, result, checked in cases:
                if result == "passed":
                    if checked > 0 or not any(case == name for case, _, _ in skips):
                        passed += 1
                elif result == "skipped":
                    skipped += 1
                    skips.append((name, f"{args.name}/{path}", "not run by Boost.Test"))
                else:
                    failures.append(f"{args.name}/{path}" + ("" if result == "failed" else f" ({result})"))
            if code != 0 and not failures:
                failures.append(f"{args.name}: every case passed, yet it {outcome_text(code, args.timeout)}")
            if not cases and not failures:
                failures.append(f"{args.name}: no test case in it")
    print(passed, len(failures), skipped, f"{seconds:.1f}")
    for failure in failures:
        print("F", failure)
    for _, test, reason in skips:
        print("S", f"{test}: {reason}")


if __name__ == "__main__":
    main()
