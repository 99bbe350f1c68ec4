"""Exact nearest neighbours against scikit-learn and a brute-force Gram product; paired rounds in one process.

python benchmarks/neighbours.py [queries] [index] [dimension] [rounds]

Two kinds of rows: rectified noise, in which no direction matters more than another, and what a small random network
makes of twelve numbers, with noise: real features are nearer to these. With OMP_NUM_THREADS=1 the seconds are those of
the processor, which other work on the machine hardly changes.
"""

from __future__ import annotations

import os
import resource
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

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


def million(decay: float, q: int = 10_000, n: int = 1_000_000, d: int = 512) -> None:
    """A thousand of the queries copy a row of the index with a little noise, and must find it."""
    rng = np.random.default_rng(0)
    spread = np.arange(1, d + 1) ** -decay

    def rows(count: int) -> np.ndarray:
        made = rng.standard_normal((count, d), dtype=np.float32) * spread.astype(np.float32)
        return made / np.linalg.norm(made, axis=1, keepdims=True)

    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "index.npy"
        index = np.lib.format.open_memmap(path, mode="w+", dtype=np.float32, shape=(n, d))
        for start in range(0, n, 50_000):
            index[start : start + 50_000] = rows(min(50_000, n - start))
        index.flush()
        queries = rows(q)
        copied = rng.choice(n, q // 10, replace=False)
        queries[: q // 10] = index[copied] + 0.001 * rng.standard_normal((q // 10, d), dtype=np.float32)
        del index
        index = np.load(path, mmap_mode="r")
        rows(1000)
        before, told = _anonymous_mb(), [0.0]

        def listen(done: int, total: int) -> None:
            told.append(_anonymous_mb())
            print(f"\r{done / total:.0%} ", end="", file=sys.stderr)

        begun = time.perf_counter()
        found = nearest(queries, index, 1, on_progress=listen)
        took = time.perf_counter() - begun
        print(f"{q} queries, {n} x {d} (memory map, decay {decay:g}), nearest: {took:.1f} s")
        print(f"memory of its own: {max(told) - before:.0f} MB; peak resident, with the pages of the file: ", end="")
        print(f"{resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e3:.0f} MB")
        print(f"copies found: {(found.indices[: q // 10, 0] == copied).mean():.1%}")
        some = np.arange(0, q, q // 5)
        true = np.full(len(some), np.inf)
        for start in range(0, n, 50_000):
            block = index[start : start + 50_000].astype(np.float64)
            for row, query in enumerate(queries[some].astype(np.float64)):
                true[row] = min(true[row], np.square(block - query).sum(axis=1).min())
        apart = np.abs(found.distances[some, 0] - true**0.5).max()
        print(f"largest difference to float64 brute force, 5 queries: {apart:.1e}")


def _anonymous_mb() -> float:
    """Resident memory that is not pages of a file."""
    status = Path("/proc/self/status").read_text()
    return int(status.split("RssAnon:")[1].split()[0]) / 1e3


def main() -> None:
    if "--million" in sys.argv:
        million(float(next((text for text in sys.argv[2:] if text != "--million"), 0.5)))
        return
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
