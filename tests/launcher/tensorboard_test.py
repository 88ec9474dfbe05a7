#!/usr/bin/env python3
"""TensorBoard reads of a run that was killed and gone on with what metrics.jsonl says. Skipped without the `tensorboard` package."""
import os
import signal
import sys

sys.dont_write_bytecode = True  # no cache beside the tests
from events_test import Shop, metrics  # noqa: E402


def main():
    try:
        from tensorboard.backend.event_processing import event_accumulator
    except ImportError:
        print("SKIPPED launcher/tensorboard_test: the Python package tensorboard is not installed")
        return
    with Shop(100_000) as shop:
        for number in (signal.SIGKILL, signal.SIGTERM):
            process = shop.until_step(60)
            process.send_signal(number)
            process.communicate()
        accumulator = event_accumulator.EventAccumulator(shop.run, size_guidance={"scalars": 0})
        accumulator.Reload()
        found = {tag: {e.step: e.value for e in accumulator.Scalars(tag)} for tag in accumulator.Tags()["scalars"]}
        assert found == metrics(shop.run), f"TensorBoard reads {found}"
        print(f"TensorBoard reads {sum(map(len, found.values()))} values of {len(found)} tags")


if __name__ == "__main__":
    os.environ.setdefault("GOMP_SPINCOUNT", "1000")
    sys.exit(main())
