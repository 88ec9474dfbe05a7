#!/usr/bin/env python3
"""The event file says what metrics.jsonl says, to a reader that shares nothing with the writer, and survives what runs survive.

The reader below knows TFRecords, CRC-32C and protobuf's wire format from their definitions. tensorboard_test.py has
TensorBoard's own.
"""
import glob
import json
import os
import resource
import shutil
import signal
import struct
import subprocess
import sys
import tempfile
import time

sys.dont_write_bytecode = True  # no cache beside the tests
sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "support"))
import tiny_run  # noqa: E402

BINARY = os.environ["TRADEWIND_BINARY"]
TAGS = {"train/loss": "loss", "train/learning_rate": "learning_rate", "train/gradient_norm": "gradient_norm",
        "train/tokens_per_second": "tokens_per_second", "train/memory_bytes": "memory_bytes",
        "validation/loss": "validation_loss", "validation/perplexity": "perplexity",
        "validation/bits_per_byte": "bits_per_byte"}


def crc32c(data):
    """Bit by bit, from the polynomial."""
    crc = 0xFFFFFFFF
    for byte in data:
        crc ^= byte
        for _ in range(8):
            crc = (crc >> 1) ^ (0x82F63B78 if crc & 1 else 0)
    return crc ^ 0xFFFFFFFF


def masked(data):
    crc = crc32c(data)
    return (((crc >> 15) | (crc << 17)) + 0xA282EAD8) & 0xFFFFFFFF


def records(data):
    """The whole records at the beginning of `data`, and how many bytes they are. Fails where a checksum is wrong."""
    out, at = [], 0
    while at + 12 <= len(data):
        length, crc = struct.unpack_from("<QI", data, at)
        assert crc == masked(data[at:at + 8]), f"the checksum of the length at byte {at} is wrong"
        if at + 16 + length > len(data):
            break
        body = data[at + 12:at + 12 + length]
        assert struct.unpack_from("<I", data, at + 12 + length)[0] == masked(body), f"the checksum at byte {at} is wrong"
        out.append(body)
        at += 16 + length
    return out, at


def varint(data, at):
    value = shift = 0
    while True:
        value |= (data[at] & 0x7F) << shift
        shift, at = shift + 7, at + 1
        if data[at - 1] < 0x80:
            return value, at


def message(data):
    """[(field, value)] of a protobuf message."""
    out, at = [], 0
    while at < len(data):
        key, at = varint(data, at)
        wire = key & 7
        if wire == 0:
            value, at = varint(data, at)
        elif wire == 1:
            value, at = struct.unpack_from("<d", data, at)[0], at + 8
        elif wire == 5:
            value, at = struct.unpack_from("<f", data, at)[0], at + 4
        else:
            assert wire == 2, f"wire type {wire}"
            length, at = varint(data, at)
            value, at = data[at:at + length], at + length
        out.append((key >> 3, value))
    assert at == len(data), "a message that ends within a field"
    return out


def files(run):
    return sorted(glob.glob(f"{run}/events.out.tfevents.*"))


def scalars(run):
    """{tag: {step: value}}, as TensorBoard sees it: a start at step S voids what was said of S and later before."""
    out = {}
    for path in files(run):
        with open(path, "rb") as file:
            bodies, _ = records(file.read())
        assert dict(message(bodies[0]))[3] == b"brain.Event:2", "the first event is the version"
        for body in bodies:
            event = dict(message(body))
            assert abs(event[1] - time.time()) < 3600, "the wall time is now"
            if 7 in event:
                assert dict(message(event[7])) == {1: 1}
                for values in out.values():
                    for step in [s for s in values if s >= event[2]]:
                        del values[step]
            for _, item in message(event.get(5, b"")):
                item = dict(message(item))
                out.setdefault(item[1].decode(), {})[event[2]] = item[2]
    return out


def metrics(run):
    out = {tag: {} for tag in TAGS}
    with open(f"{run}/metrics.jsonl", encoding="utf-8") as file:
        for line in file:
            line = json.loads(line)
            for tag, key in TAGS.items():
                if key in line:
                    out[tag][line["step"]] = struct.unpack("<f", struct.pack("<f", line[key]))[0]
    return out


class Shop:
    def __init__(self, steps):
        self.path = tempfile.mkdtemp()
        tiny_run.write(self.path, steps, every=10, more="[checkpoint]\nevery = 25\n")
        self.run = f"{self.path}/run"

    def __enter__(self):
        return self

    def __exit__(self, *_):
        shutil.rmtree(self.path)

    def start(self, *more, **options):
        return subprocess.Popen([BINARY, "train", "tiny.toml", *more], cwd=self.path, stdout=subprocess.DEVNULL,
                                stderr=subprocess.PIPE, text=True, **options)

    def train(self, *more, code=0, **options):
        process = self.start(*more, **options)
        errors = process.communicate()[1]
        assert process.returncode == code, f"exit code {process.returncode}, not {code}: {errors}"
        return errors

    def until_step(self, step):
        """Starts, and waits for a step that metrics.jsonl knows."""
        process = self.start()
        for _ in range(60_000):
            if os.path.exists(f"{self.run}/metrics.jsonl"):
                with open(f"{self.run}/metrics.jsonl", encoding="utf-8") as file:
                    lines = [line for line in file if line.endswith("\n")]
                if lines and json.loads(lines[-1])["step"] >= step:
                    return process
            assert process.poll() is None, "the run ended before it was looked at"
            time.sleep(0.001)
        raise AssertionError("no step in a minute")


def check_same(shop):
    found, expected = scalars(shop.run), metrics(shop.run)
    assert found == expected, f"event file and metrics.jsonl differ: {found} {expected}"
    return found


def a_run_is_read_back_to_the_bit():
    assert crc32c(b"123456789") == 0xE3069283
    with Shop(30) as shop:
        shop.train()
        found = check_same(shop)
        assert len(files(shop.run)) == 1 and len(found["train/loss"]) == 30 and list(found["validation/loss"]) == [10, 20, 30]
        # --fresh puts it aside with the rest of the run.
        before = os.path.basename(files(shop.run)[0])
        shop.train("--fresh")
        check_same(shop)
        assert len(files(shop.run)) == 1 and os.path.exists(f"{shop.run}/old/{before}")


def a_killed_run_is_read_up_to_the_last_whole_record():
    with Shop(100_000) as shop:
        for step in (60, 110):
            process = shop.until_step(step)
            process.send_signal(signal.SIGKILL)
            process.communicate()
        assert len(files(shop.run)) == 2
        for path in files(shop.run):
            with open(path, "rb") as file:
                data = file.read()
            whole, at = records(data)
            assert at == len(data) and len(whole) > 12, "what a killed run leaves are whole records"
            start, first = dict(message(whole[1])), dict(message(whole[2]))
            assert 7 in start and start[2] == first[2], "it starts with the step that the next event is of"
        # A machine that dies may leave any part of the last one.
        for cut in range(len(data) - len(whole[-1]) - 16, len(data)):
            assert len(records(data[:cut])[0]) == len(whole) - 1
        # Two starts say together what the run is.
        process = shop.until_step(150)
        process.send_signal(signal.SIGTERM)
        process.communicate()
        assert process.returncode == 75
        assert len(files(shop.run)) == 3
        found = check_same(shop)
        assert sorted(found["train/loss"]) == list(range(1, len(found["train/loss"]) + 1))


def a_full_disk_ends_the_run_and_the_next_start_goes_on():
    limit = 120_000  # of every file, as on a full disk
    with Shop(1500) as shop:
        errors = shop.train(code=4, preexec_fn=lambda: (signal.signal(signal.SIGXFSZ, signal.SIG_IGN),
                                                        resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))))
        assert "free some space" in errors and ("events.out" in errors or "metrics.jsonl" in errors), errors
        shop.train()
        assert len(check_same(shop)["train/loss"]) == 1500


def it_can_be_left_out():
    with Shop(3) as shop:
        shop.train("--set", "run.tensorboard=false")
        assert not files(shop.run) and os.path.exists(f"{shop.run}/metrics.jsonl")


def only_the_first_rank_writes():
    with Shop(12) as shop:
        root = ["--allow-run-as-root"] if os.geteuid() == 0 else []
        subprocess.run(["mpirun", *root, "-n", "2", "--oversubscribe", "--bind-to", "none", BINARY, "train", "tiny.toml"],
                       cwd=shop.path, check=True, capture_output=True)
        assert len(files(shop.run)) == 1
        check_same(shop)


def main():
    for case in (a_run_is_read_back_to_the_bit, a_killed_run_is_read_up_to_the_last_whole_record,
                 a_full_disk_ends_the_run_and_the_next_start_goes_on, it_can_be_left_out, only_the_first_rank_writes):
        case()
        print(f"ok {case.__name__}", flush=True)


if __name__ == "__main__":
    os.environ.setdefault("GOMP_SPINCOUNT", "1000")
    sys.exit(main())
