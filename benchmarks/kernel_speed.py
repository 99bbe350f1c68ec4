"""The exact kernel distance against the usual 100 subsets of 1,000 rows; paired rounds in one process.

Run: ``python benchmarks/kernel_speed.py [--n 10000] [--d 2048] [--rounds 3] [--threads 2]``. The peer is the subset
loop of torchmetrics' KernelInceptionDistance on its own ``poly_mmd``, in float32. At n = 1,000 a subset is the set.
"""

from __future__ import annotations

import argparse
import time

import numpy as np
import torch
from torch import Tensor
from torchmetrics.image.kid import poly_mmd

from ldm_eval.stats.kernels import kernel_distance


def by_subsets(x: Tensor, y: Tensor, subsets: int = 100, size: int = 1000) -> float:
    scores = [poly_mmd(x[torch.randperm(len(x))[:size]], y[torch.randperm(len(y))[:size]]) for _ in range(subsets)]
    return float(torch.stack(scores).mean())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--n", type=int, default=10_000)
    parser.add_argument("--d", type=int, default=2048)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--threads", type=int, default=2)
    given = parser.parse_args()
    torch.set_num_threads(given.threads)
    rng = np.random.default_rng(0)
    x, y = (np.maximum(shift + rng.normal(size=(given.n, given.d)), 0).astype(np.float32) for shift in (0.0, 0.1))
    kernel_distance(x[:100], y[:100])
    seconds = []
    for _ in range(given.rounds):
        start = time.perf_counter()
        ours = kernel_distance(x, y)
        between = time.perf_counter()
        theirs = by_subsets(torch.from_numpy(x), torch.from_numpy(y))
        seconds.append((between - start, time.perf_counter() - between))
        print(f"ours with interval {seconds[-1][0]:.3f} s, 100 subsets {seconds[-1][1]:.2f} s")
    print(f"subsets / ours: median {np.median([peer / mine for mine, peer in seconds]):.2f}")
    print(f"ours {ours.value:.6f} (standard error {ours.standard_error:.1e}), theirs {theirs:.6f}")


if __name__ == "__main__":
    main()
