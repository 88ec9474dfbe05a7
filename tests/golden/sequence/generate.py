"""Golden values of transformers over histories of items: hidden states, losses and gradients, computed in float64 by PyTorch.

    python generate.py        # needs torch and safetensors; writes *.safetensors beside itself, the same bytes every time

Each file holds "ids" [N], "targets" [N] (-100: none) and "lengths" [S] of packed histories, the parameters under our names, and
what follows from them: "hidden" [N, C], "loss" [N], and "grad.NAME" of the mean loss over the targets. No dropout. Biases and
norms are random too, so that a forgotten one shows.

    pre_norm             torch.nn.TransformerEncoderLayer(norm_first=True), a last norm; causal
    post_norm            torch.nn.TransformerEncoderLayer(norm_first=False) behind a norm of the embeddings; causal
    normalised_residual  q = norm(x), x = q + MultiheadAttention(q, x, x), z = norm(x), x = z + feed_forward(z), a last norm;
                         causal; items times sqrt(C) (SASRec as its published code has it)
    bidirectional        post_norm, every position sees all of its history; a mask item beyond the table's scored rows (BERT4Rec)
"""

import math
import pathlib

import torch
from safetensors.torch import save_file

ITEMS, C, HEADS, LAYERS, CONTEXT = 11, 16, 2, 2, 8
HERE = pathlib.Path(__file__).parent


class Net(torch.nn.Module):
    def __init__(self, kind):
        super().__init__()
        self.kind, self.rows = kind, ITEMS + (kind == "bidirectional")
        post, self.hidden = kind in ("post_norm", "bidirectional"), C if kind == "normalised_residual" else 2 * C
        self.eps = {"pre_norm": 1e-5, "normalised_residual": 1e-8}.get(kind, 1e-12)
        self.items, self.positions = torch.nn.Embedding(self.rows, C), torch.nn.Embedding(CONTEXT, C)
        self.norm = torch.nn.LayerNorm(C, eps=self.eps)
        activation = torch.nn.functional.relu if kind == "normalised_residual" else torch.nn.functional.gelu
        self.blocks = torch.nn.ModuleList(
            torch.nn.TransformerEncoderLayer(C, HEADS, self.hidden, 0.0, activation, self.eps, True, not post)
            for _ in range(LAYERS)
        )

    def block(self, layer, x, blocked, pads):
        if self.kind != "normalised_residual":
            return layer(x, src_mask=blocked, src_key_padding_mask=pads)
        q = layer.norm1(x)
        x = q + layer.self_attn(q, x, x, attn_mask=blocked, need_weights=False)[0]
        z = layer.norm2(x)
        return z + layer.linear2(torch.relu(layer.linear1(z)))

    def forward(self, ids, pads):
        T = ids.shape[1]
        x = self.items(ids) * (math.sqrt(C) if self.kind == "normalised_residual" else 1) + self.positions(torch.arange(T))
        causal = torch.triu(torch.ones(T, T, dtype=torch.bool), 1)
        first = self.kind in ("post_norm", "bidirectional")
        x = self.norm(x) if first else x
        for layer in self.blocks:
            # Pads lie to the right, so that a causal mask hides them.
            x = self.block(layer, x, *((None, pads) if self.kind == "bidirectional" else (causal, None)))
        return x if first else self.norm(x)


def our_name(name, post):
    first, _, rest = name.partition(".")
    if first in ("items", "positions"):
        return {"items": "item_embedding.", "positions": "position_embedding."}[first] + rest
    if first == "norm":
        return ("embedding_norm." if post else "norm.") + rest
    number, _, rest = rest.partition(".")
    for theirs, ours in {
        "self_attn.in_proj_": "attention.qkv.",
        "self_attn.out_proj.": "attention.out.",
        "linear1.": "mlp.up.",
        "linear2.": "mlp.down.",
    }.items():
        rest = rest.replace(theirs, ours)
    return f"blocks.{number}.{rest}"


def write(kind, seed):
    torch.manual_seed(seed)
    net = Net(kind).double()
    with torch.no_grad():
        for name, p in net.named_parameters():
            about = 1.0 if "norm" in name and name.endswith("weight") else 0.0
            p.copy_((about + 0.3 * torch.randn(p.shape)).float().double())
    lengths = [6, 3, 8]
    ids, targets = torch.zeros(3, 8, dtype=torch.long), torch.full((3, 8), -100)
    for s, n in enumerate(lengths):
        history = torch.randint(ITEMS, (n + 1,))
        ids[s, :n], targets[s, :n] = history[:-1], history[1:]
        if kind == "bidirectional":
            hidden = torch.arange(n) % 3 == s % 2
            targets[s, :n] = torch.where(hidden, history[:-1], torch.tensor(-100))
            ids[s, :n][hidden] = ITEMS
    pads = torch.arange(8)[None, :] >= torch.tensor(lengths)[:, None]
    y = net(ids, pads)[~pads]
    packed = targets[~pads]
    loss = torch.nn.functional.cross_entropy(y @ net.items.weight[:ITEMS].T, packed, reduction="none")
    (loss.sum() / (packed >= 0).sum()).backward()
    out = {"ids": ids[~pads], "targets": packed, "lengths": torch.tensor(lengths), "hidden": y.detach().float()}
    out["loss"] = loss.detach().float()
    post = kind in ("post_norm", "bidirectional")
    for name, p in net.named_parameters():
        out[our_name(name, post)] = p.detach().float()
        out["grad." + our_name(name, post)] = p.grad.float()
    save_file({k: v.contiguous() for k, v in out.items()}, HERE / f"{kind}.safetensors")
    print(kind, f"loss {loss.sum() / (packed >= 0).sum():.6f}")


if __name__ == "__main__":
    for seed, kind in enumerate(("pre_norm", "post_norm", "normalised_residual", "bidirectional")):
        write(kind, seed)
