"""Exact nearest neighbours against scikit-learn and a brute-force Gram product; paired rounds in one process.

python benchmarks/neighbours.py [queries] [index] [dimension] [rounds]

Two kinds of rows: rectified noise, in which no direction matters more than another, and what a small random network
makes of twelve numbers, with noise: real features are nearer to these. With OMP_NUM_THREADS=1 the seconds are those of
the processor, which other work on the machine hardly changes.
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray
from sklearn.neighbors import NearestNeighbors

from ldm_eval.stats.neighbours import nearest

Features = NDArray[np.float32]

clock = time.process_time if os.environ.get("OMP_NUM_THREADS") == "1" else time.perf_counter


def seconds(work: Callable[[], object]) -> float:
    start = clock()
    work()
    return clock() - start


def noise(rows: int, d: int, rng: np.random.Generator) -> Features:
    return np.maximum(rng.standard_normal((rows, d), dtype=np.float32), 0)


def structured(rows: int, d: int, rng: np.random.Generator) -> Features:
    law = np.random.default_rng(1)
    first, second = law.standard_normal((12, 256)), law.standard_normal((256, d)) / 16
    points = np.maximum(rng.standard_normal((rows, 12)) @ first, 0) @ second
    return np.maximum(points + 0.2 * rng.standard_normal((rows, d)), 0).astype(np.float32)


def main() -> None:
    numbers = [int(text) for text in sys.argv[1:]]
    q, n, d, rounds = numbers + [10_000, 50_000, 1280, 3][len(numbers) :]
    for kind in (structured, noise):
        rng = np.random.default_rng(0)
        compare(kind.__name__, kind(q, d, rng), kind(n, d, rng), rounds)


def compare(kind: str, queries: Features, index: Features, rounds: int) -> None:
    q, n = len(queries), len(index)
    theirs = NearestNeighbors(n_neighbors=5, algorithm="brute").fit(index)
    nearest(queries[:64], index, 5)
    theirs.kneighbors(queries[:64])
    print(f"{kind}: {q} queries, {n} x {index.shape[1]}, 5 neighbours; seconds")
    ratios = []
    parts = [queries[i : i + 1000] for i in range(0, q, 1000)]
    products = np.empty((1000, n), dtype=np.float32)
    for _ in range(rounds):
        ours_s = seconds(lambda: nearest(queries, index, 5))
        theirs_s = seconds(lambda: theirs.kneighbors(queries))
        product_s = seconds(lambda: [np.matmul(part, index.T, out=products[: len(part)]) for part in parts])
        ratios.append(theirs_s / ours_s)
        print(f"nearest {ours_s:.2f}  scikit-learn {theirs_s:.2f}  matrix product alone {product_s:.2f}", flush=True)
    found, expected = nearest(queries[:200], index, 5), theirs.kneighbors(queries[:200])
    print(f"scikit-learn / nearest: median {np.median(ratios):.2f}")
    print(f"largest difference: {np.abs(found.distances - expected[0]).max():.1e}", flush=True)


if __name__ == "__main__":
    main()
