#!/usr/bin/env python3
"""Completion in the shells themselves: what TAB offers and what it types, in bash and zsh on a terminal, in fish through `complete`.

What a shell must know comes from the program: every verb of the help, every option, every config key is asked for.
"""
import json
import os
import pty
import re
import select
import shutil
import subprocess
import sys
import tempfile
import time

BINARY = os.environ["TRADEWIND_BINARY"]


def output(*arguments):
    return subprocess.run([BINARY, *arguments], check=True, capture_output=True, text=True).stdout


def known():
    """(verbs, {verb: options}, config keys) as --help and the schema say."""
    verbs = re.findall(r"^  ([a-z][a-z-]+)  +\S", output("--help"), re.MULTILINE)
    options = {verb: re.findall(r"^  (--[a-z-]+)", output(verb, "--help"), re.MULTILINE) for verb in verbs}
    keys = [key["key"] for key in json.loads(output("config", "schema", "--json"))["keys"]]
    assert len(verbs) > 10 and len(keys) > 40 and "--set" in options["train"]
    return verbs, options, keys


# What is typed behind "tradewind ", and the words that are offered: all of them, or, ending with "...", at least these.
CASES = [
    ("evalu", ["evaluate"]),
    ("e", ["evaluate", "export", "env"]),
    ("train --dry", ["--dry-run"]),
    ("train sh", ["shop.toml"]),
    ("train shop.toml --set train.step", ["train.steps="]),
    ("train --set device=", ["auto", "cpu", "cuda"]),
    ("train --set device=cu", ["cuda"]),
    ("train --set run.tensorboard=t", ["true"]),
    ("train --set data.path=te", ["text.txt"]),
    ("evaluate run", ["runs/"]),
    ("compare runs/a runs/", ["runs/a/", "runs/b/"]),
    ("generate runs/a --checkpoint ", ["last", "best", "120", "7"]),
    ("generate runs/a --prompt ", []),
    ("export runs/a --to te", ["text.txt"]),
    ("config sch", ["schema"]),
    ("config schema schedule.warm", ["schedule.warmup"]),
    ("config schema x --model ", ["bert4rec", "bpr", "gpt", "gru4rec", "hstu", "item_knn", "linear", "lstm", "popularity", "sasrec", "two_tower"]),
    ("completion ", ["bash", "zsh", "fish"]),
    ("import runs/a --tokenizer ", ["auto", "byte"]),
    ("help gene", ["generate"]),
]

BASH = r"""
source <("$1" completion bash)
COMP_LINE="tradewind $2" COMP_POINT=${#COMP_LINE}
words=${2//=/ = }  # as readline takes it apart
read -r -a COMP_WORDS <<<"tradewind $words"
[[ $2 == *' ' || $2 == '' ]] && COMP_WORDS+=('')
COMP_CWORD=$((${#COMP_WORDS[@]} - 1))
_tradewind
printf '%s\n' "${COMPREPLY[@]}"
"""


def bash(typed):
    done = subprocess.run(["bash", "-c", BASH, "bash", BINARY, typed], check=True, capture_output=True, text=True)
    assert done.stderr == "", done.stderr
    return done.stdout.split()


def fish(typed):
    done = subprocess.run(["fish", "--no-config", "-c", f"'{BINARY}' completion fish | source; complete -C'tradewind {typed}'"],
                          check=True, capture_output=True, text=True)
    assert done.stderr == "", done.stderr
    return [line.split("\t")[0] for line in done.stdout.splitlines()]


class Terminal:
    """A shell on a terminal of its own. What it shows comes back without escapes."""

    def __init__(self, command, setup):
        self.process, self.terminal = pty.fork()
        if self.process == 0:
            os.environ.update(TERM="dumb", PS1="READY> ", HISTFILE="", LC_ALL="C.UTF-8", COLUMNS="200")
            os.execvp(command[0], command)
        self.wait_for("READY> ")
        for line in setup:
            self.type(line + "\n")
            self.wait_for("READY> ")

    def type(self, text):
        os.write(self.terminal, text.encode())

    def wait_for(self, text, seconds=20):
        seen, end = "", time.monotonic() + seconds
        while text not in seen:
            assert time.monotonic() < end, f"the shell shows {seen!r}, not {text!r}"
            if select.select([self.terminal], [], [], 0.1)[0]:
                seen += os.read(self.terminal, 65536).decode(errors="replace")
                seen = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]|\x07", "", seen)
        return seen

    def tab(self, typed, becomes):
        """Types, presses TAB, and sees the line become something; Ctrl-U clears it."""
        self.type(typed + "\t")
        self.wait_for(becomes)
        self.type("\x15\n")
        self.wait_for("READY> ")

    def close(self):
        self.type("exit\n")
        os.close(self.terminal)
        os.waitpid(self.process, 0)


def as_offered(found, prefix):
    """Shells say directories with or without a slash, and values with or without the key."""
    return sorted({word.removeprefix(prefix).rstrip("/") for word in found})


def check_cases(shell):
    for typed, expected in CASES:
        last = typed.split(" ")[-1]
        found = as_offered(shell(typed), last[:last.find("=") + 1])
        wanted = sorted(word.rstrip("/") for word in expected)
        assert found == wanted, f"{shell.__name__}: tradewind {typed!r} offers {found}, not {wanted}"


def check_all_known(shell):
    verbs, options, keys = known()
    found = [word for word in shell("") if not word.startswith("-")]
    assert sorted(found) == sorted(verbs), f"{shell.__name__} offers the verbs {found}"
    for verb in verbs:
        found = [word for word in shell(f"{verb} --") if word.startswith("--")]
        assert sorted(found) == sorted([*options[verb], "--help"]), f"{shell.__name__}: {verb} offers {found}"
    found = shell("train --set ")
    missing = [key for key in keys if key + "=" not in found]
    assert not missing, f"{shell.__name__} does not know {missing}"


def check_terminal(command, setup):
    terminal = Terminal(command, setup)
    terminal.tab("tradewind evalu", "tradewind evaluate ")
    terminal.tab("tradewind train sh", "shop.toml ")
    terminal.tab("tradewind train --dry", "--dry-run ")
    terminal.tab("tradewind train --set train.step", "train.steps=")
    terminal.tab("tradewind train --set device=cu", "device=cuda")
    terminal.tab("tradewind evaluate ru", "runs/")
    terminal.tab("tradewind generate runs/a --checkpoint 12", "--checkpoint 120 ")
    terminal.tab("tradewind config sch", "schema ")
    terminal.tab("tradewind completion f", "completion fish ")
    terminal.close()


def main():
    with tempfile.TemporaryDirectory() as folder:
        os.chdir(folder)
        for name in ("runs/a/checkpoints/step-00000120", "runs/a/checkpoints/step-00000007", "runs/b"):
            os.makedirs(name)
        for name in ("shop.toml", "text.txt"):
            with open(name, "w", encoding="utf-8"):
                pass
        check_all_known(bash)
        check_cases(bash)
        check_terminal(["bash", "--norc", "--noprofile", "-i"], ["bind 'set enable-bracketed-paste off'",
                                                                 f"source <('{BINARY}' completion bash)"])
        checked = ["bash"]
        if shutil.which("zsh"):
            check_terminal(["zsh", "-f", "-i"], ["autoload -Uz compinit && compinit -u -D", "PS1='READY> '; unsetopt zle_bracketed_paste",
                                                 f"source <('{BINARY}' completion zsh)"])
            checked.append("zsh")
        if shutil.which("fish"):
            check_all_known(fish)
            check_cases(fish)
            checked.append("fish")
        for shell in {"zsh", "fish"} - set(checked):
            subprocess.run([BINARY, "completion", shell], check=True, stdout=subprocess.DEVNULL)
            print(f"NOTE {shell} is not installed: its completion was printed, not tried")
        print(f"completes in {', '.join(checked)}")


if __name__ == "__main__":
    sys.exit(main())
