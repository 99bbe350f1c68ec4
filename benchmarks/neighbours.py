"""Exact nearest neighbours against scikit-learn and a brute-force Gram product; paired rounds in one process.

python benchmarks/neighbours.py [queries] [index] [dimension] [rounds]
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable

import numpy as np
from sklearn.neighbors import NearestNeighbors

from ldm_eval.stats.neighbours import nearest


def seconds(work: Callable[[], object]) -> float:
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


def main() -> None:
    numbers = [int(text) for text in sys.argv[1:]]
    q, n, d, rounds = numbers + [10_000, 50_000, 1280, 3][len(numbers) :]
    rng = np.random.default_rng(0)
    queries, index = (np.maximum(rng.normal(size=(rows, d)), 0).astype(np.float32) for rows in (q, n))
    theirs = NearestNeighbors(n_neighbors=5, algorithm="brute").fit(index)
    nearest(queries[:64], index, 5)
    theirs.kneighbors(queries[:64])
    print(f"{q} queries, {n} x {d}, 5 neighbours; seconds")
    ratios = []
    parts = [queries[i : i + 1000] for i in range(0, q, 1000)]
    products = np.empty((1000, n), dtype=np.float32)
    for _ in range(rounds):
        ours_s = seconds(lambda: nearest(queries, index, 5))
        theirs_s = seconds(lambda: theirs.kneighbors(queries))
        product_s = seconds(lambda: [np.matmul(part, index.T, out=products[: len(part)]) for part in parts])
        ratios.append(theirs_s / ours_s)
        print(f"nearest {ours_s:.2f}  scikit-learn {theirs_s:.2f}  matrix product alone {product_s:.2f}")
    found, expected = nearest(queries[:200], index, 5), theirs.kneighbors(queries[:200])
    print(f"scikit-learn / nearest: median {np.median(ratios):.2f}")
    print(f"largest difference: {np.abs(found.distances - expected[0]).max():.1e}")


if __name__ == "__main__":
    main()
