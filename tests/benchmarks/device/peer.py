"""PyTorch's times for the cases of device_benchmark.cu and training_step_benchmark.cpp: a line a case, its name, a tab, milliseconds
(median). `peer.py --cpu-check` tries the training step on a small model and the CPU."""
import statistics
import sys
import time

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


class Block(torch.nn.Module):
    def __init__(self, channels, heads):
        super().__init__()
        self.heads = heads
        self.norm1, self.norm2 = torch.nn.LayerNorm(channels), torch.nn.LayerNorm(channels)
        self.qkv, self.out = torch.nn.Linear(channels, 3 * channels), torch.nn.Linear(channels, channels)
        self.up, self.down = torch.nn.Linear(channels, 4 * channels), torch.nn.Linear(4 * channels, channels)

    def forward(self, x):
        batch, length, channels = x.shape
        q, k, v = (
            y.view(batch, length, self.heads, channels // self.heads).transpose(1, 2)
            for y in self.qkv(self.norm1(x)).split(channels, dim=2)
        )
        y = F.scaled_dot_product_attention(q, k, v, is_causal=True)
        x = x + self.out(y.transpose(1, 2).reshape(batch, length, channels))
        return x + self.down(F.gelu(self.up(self.norm2(x)), approximate="tanh"))


class Gpt(torch.nn.Module):
    """GPT-2 without dropout, the head tied to the token table."""

    def __init__(self, vocabulary, length, channels, heads, layers):
        super().__init__()
        self.tokens, self.positions = torch.nn.Embedding(vocabulary, channels), torch.nn.Embedding(length, channels)
        self.blocks = torch.nn.ModuleList(Block(channels, heads) for _ in range(layers))
        self.norm = torch.nn.LayerNorm(channels)
        for p in self.parameters():
            if p.dim() > 1:
                torch.nn.init.normal_(p, std=0.02)

    def forward(self, ids, targets):
        x = self.tokens(ids) + self.positions(torch.arange(ids.shape[1], device=ids.device))
        for block in self.blocks:
            x = block(x)
        logits = F.linear(self.norm(x), self.tokens.weight)
        return F.cross_entropy(logits.flatten(0, 1).float(), targets.flatten())


def training_step(vocabulary, micro, batch=480, length=1024, channels=768, heads=12, layers=12, device=DEVICE):
    """A step of `batch` sequences as configs/language/gpt2-124m.toml has it: AdamW (fused), clipping, autocast to bfloat16; compiled where
    torch.compile works here, which stderr says."""
    torch.set_float32_matmul_precision("high")
    model = Gpt(vocabulary, length, channels, heads, layers).to(device)
    optimizer = torch.optim.AdamW(model.parameters(), lr=6e-4, betas=(0.9, 0.95), weight_decay=0.1, fused=device == "cuda")
    ids = torch.randint(0, min(vocabulary, 50257), (batch, length + 1), device=device)

    def step(forward):
        for i in range(0, batch, micro):
            with torch.autocast(device, dtype=HALF):
                loss = forward(ids[i : i + micro, :-1], ids[i : i + micro, 1:]) * (micro / batch)
            loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        return loss.item()  # as a trainer that reports the loss waits for it

    forward, how = model, "eager"
    if device == "cuda":
        try:
            forward = torch.compile(model)
            step(forward)
            how = "compiled"
        except Exception as error:  # whatever keeps a machine from compiling
            forward = model
            print(f"peer.py: torch.compile does not work here: {type(error).__name__}", file=sys.stderr)
    step(forward)
    times = []
    for _ in range(5):
        begin = time.perf_counter()
        step(forward)
        times.append(1e3 * (time.perf_counter() - begin))
    name = f"gpt2-124m step V{vocabulary} micro_batch {micro}"
    print(f"peer.py: {name}: {how}", file=sys.stderr)
    print(f"{name}\t{statistics.median(times):.4f}", flush=True)


def training_steps():
    for vocabulary in (50257, 50304):
        for micro in (4, 16, 32):
            try:
                training_step(vocabulary, micro)
            except torch.cuda.OutOfMemoryError as error:
                print(f"peer.py: micro_batch {micro}: {error}", file=sys.stderr)
            torch.cuda.empty_cache()


if __name__ == "__main__":
    if sys.argv[1:] == ["--cpu-check"]:
        training_step(100, 2, batch=4, length=16, channels=32, heads=2, layers=2, device="cpu")
        sys.exit()
    for part in (attention, embedding, loss, training_steps):
        try:
            part()
        except torch.cuda.OutOfMemoryError as error:
            print(f"peer.py: {part.__name__}: {error}", file=sys.stderr)
        torch.cuda.empty_cache()
