"""PyTorch's times for the cases of device_benchmark.cu: one line a case, its name, a tab, milliseconds (median)."""
import statistics
import sys

import torch
import torch.nn.functional as F

DEVICE, HALF = "cuda", torch.bfloat16


def report(name, call):
    for _ in range(3):
        call()
    times = []
    for _ in range(20):
        begin, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
        begin.record()
        call()
        end.record()
        end.synchronize()
        times.append(begin.elapsed_time(end))
    print(f"{name}\t{statistics.median(times):.4f}", flush=True)


def attention():
    for head in (64, 128):
        for length in (512, 1024, 2048, 4096, 8192, 16384):
            for causal in (True, False):
                shape = (16384 // length, 2048 // head, length, head)
                q, k, v = (torch.randn(shape, device=DEVICE, dtype=HALF, requires_grad=True) for _ in range(3))
                out = F.scaled_dot_product_attention(q, k, v, is_causal=causal)
                dout = torch.randn_like(out)
                name = f"attention S{length} D{head} {'causal' if causal else 'full'}"
                with torch.no_grad():
                    report(name + " forward", lambda: F.scaled_dot_product_attention(q, k, v, is_causal=causal))
                report(name + " backward", lambda: torch.autograd.grad(out, (q, k, v), dout, retain_graph=True))


def embedding():
    tables, rows, channels, lookups = 10, 1_680_000, 128, 1_048_570
    table = torch.zeros(tables * rows, channels, device=DEVICE, requires_grad=True)
    # The same power law, from other random numbers.
    low, high, power = 1.0, float(rows), 1 - 1.05
    u = torch.rand(lookups, device=DEVICE, dtype=torch.float64)
    rank = ((high**power - low**power) * u + low**power) ** (1 / power)
    ids = (rank.long() - 1).clamp(0, rows - 1) * 7919 % rows
    ids += torch.arange(lookups, device=DEVICE) // (lookups // tables) * rows
    offsets = torch.arange(lookups, device=DEVICE)
    dout = torch.randn(lookups, channels, device=DEVICE)

    def forward():
        return F.embedding_bag(ids, table, offsets, mode="sum", sparse=True)

    def update():
        (gradient,) = torch.autograd.grad(forward(), table, dout)
        with torch.no_grad():
            table.add_(gradient, alpha=-0.01)

    with torch.no_grad():
        report("embedding forward", forward)
    report("embedding forward and SGD", update)


def loss():
    rows, channels, classes = 8192, 4096, 131072
    x = torch.randn(rows, channels, device=DEVICE, dtype=HALF, requires_grad=True)
    w = (torch.randn(classes, channels, device=DEVICE) * 0.02).to(HALF).requires_grad_()
    targets = torch.randint(0, classes, (rows,), device=DEVICE)

    def step():
        torch.autograd.grad(F.cross_entropy((x @ w.T).float(), targets), (x, w))

    report("linear_cross_entropy", step)


if __name__ == "__main__":
    for part in (attention, embedding, loss):
        try:
            part()
        except torch.cuda.OutOfMemoryError as error:
            print(f"peer.py: {part.__name__}: {error}", file=sys.stderr)
        torch.cuda.empty_cache()
