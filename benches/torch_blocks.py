"""Compares the speed of OPT blocks in PyTorch and in this repository, with the same shapes, weight types and threads.

    cargo bench -p models --bench blocks --no-run          # names the program
    python benches/torch_blocks.py PROGRAM [--threads 2] [--rounds 3] [--filter 125m]

Needs a Python with torch (its CPU build is enough). Rounds of PyTorch and of this repository alternate, because the
speed of a machine drifts. The script prints the best time of each over all rounds, and their ratio. A decode step has a
context of 512 tokens, and a prefill has 256 tokens. Both write their keys and values into a cache that is allocated in
advance. PyTorch multiplies f32 and bf16 weights in the type in which they are held, with its own fused attention.
"""

import argparse
import os
import re
import subprocess
import time

import torch
import torch.nn.functional as F

CONTEXT, PREFILL = 512, 256
# name: (hidden, heads, blocks). The number of blocks is that of `blocks.rs`: so many that weights come from memory.
SHAPES = {"125m": (768, 12, 6), "1.3b": (2048, 32, 2)}
TYPES = {"F32": torch.float32, "Bf16": torch.bfloat16}
STEPS = [("decode", 1, 1), ("decode", 8, 1), ("prefill", 1, PREFILL)]


class Block:
    def __init__(self, hidden, heads, dtype):
        def linear(outputs, inputs):
            return torch.randn(outputs, inputs, dtype=dtype) * 0.02, torch.zeros(outputs, dtype=dtype)

        self.heads = heads
        self.qkv, self.out = linear(3 * hidden, hidden), linear(hidden, hidden)
        self.fc1, self.fc2 = linear(4 * hidden, hidden), linear(hidden, 4 * hidden)
        self.norms = [(torch.ones(hidden, dtype=dtype), torch.zeros(hidden, dtype=dtype)) for _ in range(2)]

    def forward(self, x, cache, position):
        batch, tokens, hidden = x.shape
        normed = F.layer_norm(x, (hidden,), *self.norms[0])
        q, k, v = F.linear(normed, *self.qkv).view(batch, tokens, 3, self.heads, -1).permute(2, 0, 3, 1, 4)
        keys, values = cache
        keys[:, :, position : position + tokens] = k
        values[:, :, position : position + tokens] = v
        seen = position + tokens
        mixed = F.scaled_dot_product_attention(q, keys[:, :, :seen], values[:, :, :seen], is_causal=tokens > 1)
        x = x + F.linear(mixed.transpose(1, 2).reshape(batch, tokens, hidden), *self.out)
        wide = F.relu(F.linear(F.layer_norm(x, (hidden,), *self.norms[1]), *self.fc1))
        return x + F.linear(wide, *self.fc2)


def torch_ms(blocks, hidden, heads, dtype, step, batch, tokens, seconds):
    """Returns the time of the fastest step within `seconds`, in ms per block."""
    position = CONTEXT if step == "decode" else 0
    shape = (batch, heads, CONTEXT + 1, hidden // heads)
    caches = [(torch.randn(shape).to(dtype), torch.randn(shape).to(dtype)) for _ in blocks]
    x = torch.randn(batch, tokens, hidden).to(dtype)
    best, end = float("inf"), time.monotonic() + seconds
    with torch.inference_mode():
        while time.monotonic() < end:
            begun, y = time.perf_counter(), x
            for block, cache in zip(blocks, caches):
                y = block.forward(y, cache, position)
            best = min(best, time.perf_counter() - begun)
    return best / len(blocks) * 1e3


def ours_ms(program, filter, threads):
    """Returns the results of `blocks.rs`: for the name of each step, ms per block, and its ratio to the lower bound."""
    environment = dict(os.environ, RAYON_NUM_THREADS=str(threads), CANDLE_NUM_THREADS=str(threads))
    ran = subprocess.run([program, "--bench", filter], env=environment, capture_output=True, text=True, check=True)
    found = re.findall(r"^block (\S+) ms=([\d.]+) floor_ms=[\d.]+ ratio=([\d.]+)", ran.stdout, re.M)
    return {name: (float(ms), float(ratio)) for name, ms, ratio in found}


def main():
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("program", help="the program of the benchmark `blocks`, built in release mode")
    arguments.add_argument("--threads", type=int, default=os.cpu_count())
    arguments.add_argument("--rounds", type=int, default=3)
    arguments.add_argument("--seconds", type=float, default=1.0, help="seconds for each step of torch in a round")
    arguments.add_argument("--filter", default="", help="part of the names of the steps to run, as in 125m/F32")
    asked = arguments.parse_args()
    torch.set_num_threads(asked.threads)
    rows = []
    for name, (hidden, heads, count) in SHAPES.items():
        for held, dtype in TYPES.items():
            if asked.filter not in f"{name}/{held}":
                continue
            blocks = [Block(hidden, heads, dtype) for _ in range(count)]
            best = {}
            for _ in range(asked.rounds):
                ours = ours_ms(asked.program, f"{name}/{held}/", asked.threads)
                for step, batch, tokens in STEPS:
                    label = f"Opt-{name}/{held}/{step}-{batch}"
                    theirs = torch_ms(blocks, hidden, heads, dtype, step, batch, tokens, asked.seconds)
                    ms, ratio, before = *ours[label], best.get(label, (float("inf"),) * 3)
                    best[label] = tuple(map(min, (ms, theirs, ratio), before))
            rows += [(label, *figures) for label, figures in best.items()]
    print(f"torch {torch.__version__}, {asked.threads} threads, best of {asked.rounds} rounds; ms a block\n")
    print("| step | ours | torch | torch / ours | ours / floor |\n|---|--:|--:|--:|--:|")
    for label, ms, theirs, ratio in rows:
        print(f"| {label} | {ms:.2f} | {theirs:.2f} | {theirs / ms:.2f} | {ratio:.2f} |")


if __name__ == "__main__":
    main()
