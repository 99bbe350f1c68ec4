"""Precision, recall, density and coverage against the algorithm of the package ``prdc``; paired rounds in one process.

Run: ``python benchmarks/manifold_speed.py [--n 10000] [--d 2048] [--rounds 3]``. The peer is written out here because
the package starts eight threads whatever the machine; its four numbers are the same.
"""

from __future__ import annotations

import argparse
import time

import numpy as np
from numpy.typing import NDArray
from sklearn.metrics import pairwise_distances

from ldm_eval.stats.manifolds import manifold_overlap

Features = NDArray[np.float32]
Values = NDArray[np.float64]


def prdc(real: Features, fake: Features, k: int) -> list[float]:
    """Full distance matrices, as in prdc 0.2 (arXiv:2002.09797)."""
    real_radii, fake_radii = (_radii(pairwise_distances(one), k) for one in (real, fake))
    across = pairwise_distances(real, fake)
    inside = across < real_radii[:, None]
    return [
        float(inside.any(axis=0).mean()),
        float((across < fake_radii[None, :]).any(axis=1).mean()),
        float(inside.sum(axis=0).mean() / k),
        float((across.min(axis=1) < real_radii).mean()),
    ]


def _radii(distances: Values, k: int) -> Values:
    nearest = np.argpartition(distances, k + 1, axis=-1)[..., : k + 1]
    return np.asarray(np.take_along_axis(distances, nearest, axis=-1).max(axis=-1))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--n", type=int, default=10_000)
    parser.add_argument("--d", type=int, default=2048)
    parser.add_argument("--rounds", type=int, default=3)
    given = parser.parse_args()
    rng = np.random.default_rng(0)
    real, fake = (np.maximum(rng.normal(size=(given.n, given.d)), 0).astype(np.float32) for _ in range(2))
    seconds = []
    for _ in range(given.rounds):
        start = time.perf_counter()
        overlap = manifold_overlap(real, fake, k=5)
        between = time.perf_counter()
        theirs = prdc(real, fake, 5)
        seconds.append((between - start, time.perf_counter() - between))
        print(f"ours with intervals {seconds[-1][0]:.2f} s, prdc {seconds[-1][1]:.2f} s")
    ours = [getattr(overlap, name).value for name in ("precision", "recall", "density", "coverage")]
    print(f"prdc / ours: median {np.median([peer / mine for mine, peer in seconds]):.2f}")
    print(f"largest difference: {np.abs(np.array(ours) - np.array(theirs)).max():.1e}")


if __name__ == "__main__":
    main()
