#!/usr/bin/env python3
"""On a terminal a run draws its line with carriage returns alone: no colour, no escape, NO_COLOR or not, and never wider than it; nor are
messages and errors."""
import os
import pty
import struct
import subprocess
import sys
import tempfile
import fcntl
import termios

sys.dont_write_bytecode = True  # no cache beside the tests
sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "support"))
import tiny_run  # noqa: E402

BINARY = os.environ["TRADEWIND_BINARY"]


def on_a_terminal(arguments, folder, columns, code=0):
    controller, terminal = pty.openpty()
    fcntl.ioctl(terminal, termios.TIOCSWINSZ, struct.pack("HHHH", 24, columns, 0, 0))
    environment = {**os.environ, "TERM": "xterm-256color", "COLORTERM": "truecolor"}
    environment.pop("NO_COLOR", None)
    process = subprocess.Popen([BINARY, *arguments], cwd=folder, stdin=terminal, stdout=terminal, stderr=terminal,
                               env=environment)
    os.close(terminal)
    seen = b""
    while True:
        try:
            part = os.read(controller, 65536)
        except OSError:  # the last writer is gone
            break
        if not part:
            break
        seen += part
    os.close(controller)
    assert process.wait() == code, seen.decode()
    return seen.decode()


def main():
    with tempfile.TemporaryDirectory() as folder:
        tiny_run.write(folder, steps=200, every=50, lines=200)
        trained = on_a_terminal(["train", "tiny.toml"], folder, 60)
        assert "\r" in trained and "done: 200 steps" in trained, trained  # which steps are drawn is a matter of time
        for line in trained.replace("\n", "\r").split("\r"):
            if line.startswith("step ") and "/" in line.split()[1]:
                assert len(line.rstrip()) < 60, f"wider than the terminal: {line!r}"
        shown = trained
        for arguments in (["evaluate", "run"], ["verify", "run"], ["inspect", "run"], ["env"], ["--help"],
                          ["report", "run", "--no-samples"], ["config", "schema"], ["train", "tiny.toml", "--dry-run"]):
            shown += on_a_terminal(arguments, folder, 80)
        # Messages are broken at words there; a path stays whole, and a pipe gets one line.
        long = "a-name-that-is-long-" * 5
        for arguments, code in ((["train", "tiny.toml", "--set", "train.stpes=7"], 2), (["verify", "nothing"], 2),
                                (["train", "tiny.toml", "--set", "model.context=100000", "--set", "run.directory=long"], 3),
                                (["train", "tiny.toml", "--set", "train.batch=8"], 2), (["report", "run"], 0),
                                (["export", "run", "--to", f"{long}.h5"], 0)):
            for columns in (80, 50):
                told = on_a_terminal([*arguments, *(["--overwrite"] if arguments[0] == "export" else [])], folder, columns, code)
                shown += told
                for line in told.replace("\r", "\n").split("\n"):
                    words = line.split()
                    assert len(line) <= columns or len(words) == 1, f"{len(line)} columns on a terminal of {columns}: {line!r}"
                if code:
                    piped = subprocess.run([BINARY, *arguments], cwd=folder, capture_output=True, text=True, check=False).stderr
                    assert piped.count("\n") == 1, piped
                    assert " ".join(told[told.index("error: "):].split()) == " ".join(piped.split()), (told, piped)
        assert "\x1b" not in shown, "there is an escape in what a terminal is shown"
    print("no colour and no escape on a terminal")


if __name__ == "__main__":
    sys.exit(main())
