#!/usr/bin/env python3
"""tests/support/run_program.py counts what it should: a crash, a hang, a missing report and a failed case are failures."""
import os
import subprocess
import sys
import tempfile

HERE = os.path.dirname(os.path.abspath(__file__))
RUNNER = os.path.join(HERE, "../support/run_program.py")

# A stand-in for a Boost.Test program: writes the report it is told to write, then does the rest of the script.
PROGRAM = """#!/usr/bin/env bash
for a in "$@"; do case $a in --report_sink=*) sink=${{a#*=}} ;; esac; done
{before}
cat >"$sink" <<'END'
<TestResult><TestSuite name="m" result="passed">{cases}</TestSuite></TestResult>
END
{after}
"""


def case(name, result="passed", checked=1):
    return f'<TestCase name="{name}" result="{result}" assertions_passed="{checked}" assertions_failed="0"></TestCase>'


def counts(directory, cases="", before="", after="", timeout="20", name="program", text=None):
    path = os.path.join(directory, name)
    with open(path, "w") as file:
        file.write(text if text is not None else PROGRAM.format(cases=cases, before=before, after=after))
    os.chmod(path, 0o755)
    out = subprocess.run([sys.executable, RUNNER, "--name", "part/" + name, "--log", path + ".log", "--timeout", timeout, path],
                         check=True, capture_output=True, text=True).stdout
    return tuple(int(x) for x in out.split()[:3]), out


def expect(what, got, want, word=""):
    if got[0] != want or word not in got[1]:
        sys.exit(f"{what}: passed, failed, skipped = {got[0]}, expected {want} and {word!r} in:\n{got[1]}")


with tempfile.TemporaryDirectory() as d:
    skip = 'printf \'Entering test case "b"\\nSKIPPED part/b: no h5py\\nLeaving test case "b"; testing time: 1us\\n\''
    expect("two pass", counts(d, case("a") + case("b")), (2, 0, 0))
    expect("nested", counts(d, '<TestSuite name="s" result="passed">' + case("a") + "</TestSuite>"), (1, 0, 0))
    expect("one fails", counts(d, case("a") + case("b", "failed"), after="exit 201"), (1, 1, 0), "part/program/b")
    expect("aborted", counts(d, case("a", "aborted"), after="exit 201"), (0, 1, 0), "aborted")
    expect("skipped", counts(d, case("a") + case("b", checked=0), before=skip), (1, 0, 1), "b: no h5py")
    expect("skipped in part", counts(d, case("a") + case("b", checked=3), before=skip), (2, 0, 1))
    expect("crash", counts(d, case("a"), before="kill -SEGV $$"), (0, 1, 0), "SIGSEGV")
    expect("crash at exit", counts(d, case("a"), after="kill -ABRT $$"), (1, 1, 0), "SIGABRT")
    expect("hang", counts(d, case("a"), before="sleep 30", timeout="1"), (0, 1, 0), "did not end within 1 s")
    expect("nothing in it", counts(d), (0, 1, 0), "no test case")
    expect("no report", counts(d, before="exit 0"), (0, 1, 0), "no report")
    expect("script", counts(d, name="x_test.sh", text="#!/usr/bin/env bash\nexit 0\n"), (1, 0, 0))
    expect("script fails", counts(d, name="x_test.sh", text="#!/usr/bin/env bash\nexit 3\n"), (0, 1, 0), "exit code 3")
    expect("script skips", counts(d, name="x_test.sh", text="#!/usr/bin/env bash\necho SKIPPED part/x: no nvcc\n"), (0, 0, 1))
print("the runner counts right")
