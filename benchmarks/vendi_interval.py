"""Coverage of the Vendi score's interval, and of that of its ratio to real images, where the expected value is known.

Run: ``python benchmarks/vendi_interval.py [--runs 300] [--features FILE.npy]``. The expected score at this n is the
mean over the runs; the ratio of two draws of one law is 1. With ``--features`` (an ``(N, D)`` array of real features)
disjoint subsets are drawn again and again instead, which tests n < d on real features.
The first-order column is what the influence function of the spectrum would say instead of the jackknife.
"""

from __future__ import annotations

import argparse
import math
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from ldm_eval.stats.vendi import ORDERS, VendiScore, vendi_ratio, vendi_scores

Array = NDArray[np.float64]
Draw = Callable[[], tuple[Array, Array]]


def isotropic(rng: np.random.Generator, n: int, d: int) -> Array:
    """Every direction alike: the score is near its ceiling."""
    return rng.standard_normal((n, d))


def decaying(rng: np.random.Generator, n: int, d: int) -> Array:
    """A mean, and variances that fall as 1/k: cosines are high, as those of features after a rectifier are."""
    return 0.5 + rng.standard_normal((n, d)) / np.sqrt(np.arange(1, d + 1))


def clustered(rng: np.random.Generator, n: int, d: int) -> Array:
    """Eight far modes of unequal weight."""
    weights = np.arange(1.0, 9.0) / 36.0
    return 5.0 * np.eye(8, d)[rng.choice(8, size=n, p=weights)] + decaying(rng, n, d) - 0.5


def heavy(rng: np.random.Generator, n: int, d: int) -> Array:
    """Student's t with 4 degrees of freedom along each direction, and a mean."""
    return 1.0 + rng.standard_t(4, size=(n, d))


def first_order_error(features: Array, order: float) -> float:
    """Standard error of the log score by the influence function of the spectrum."""
    rows = features / np.linalg.norm(features, axis=1, keepdims=True)
    n = len(rows)
    values, vectors = np.linalg.eigh(rows.T @ rows / n if n >= rows.shape[1] else rows @ rows.T / n)
    kept = values > 1e-12 * values[-1]
    values, vectors = values[kept], vectors[:, kept]
    squares = np.square(rows @ vectors) if n >= rows.shape[1] else np.square(vectors) * n * values
    if math.isinf(order):
        influence = -squares[:, -1] / values[-1]
    elif order == 1.0:
        influence = -squares @ np.log(values)
    else:
        influence = order / (1.0 - order) * squares @ values ** (order - 1.0) / np.sum(values**order)
    return float(influence.std(ddof=1)) / math.sqrt(n)


def report(label: str, runs: int, draw: Draw) -> None:
    """Draw two sets again and again; print what the intervals held."""
    first: dict[float, list[VendiScore]] = {order: [] for order in ORDERS}
    ratios: dict[float, list[bool]] = {order: [] for order in ORDERS}
    plain: dict[float, list[float]] = {order: [] for order in ORDERS}
    for run in range(runs):
        x, y = draw()
        one, other = vendi_scores(x, ORDERS), vendi_scores(y, ORDERS)
        for order in ORDERS:
            first[order].append(one[order])
            interval = vendi_ratio(one[order], other[order]).interval
            ratios[order].append(interval.low <= 1.0 <= interval.high)
            if run < 20:
                plain[order].append(first_order_error(x, order))
    for order, found in first.items():
        logs = np.log([one.value for one in found])
        expected, spread = math.exp(logs.mean()), logs.std(ddof=1)
        error = math.sqrt(np.mean([(one.standard_error / one.value) ** 2 for one in found]))
        held = np.mean([one.interval.low <= expected <= one.interval.high for one in found])
        cells = f"{expected:.4g} | {error / spread:.2f} | {held:.3f} | {np.mean(ratios[order]):.3f}"
        plainly = math.sqrt(np.mean(np.square(plain[order]))) / spread
        print(f"| {label} | {order:g} | {cells} | {plainly:.2f} |", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--runs", type=int, default=300)
    parser.add_argument("--features", default="")
    arguments = parser.parse_args()
    print("| case | order | expected | error / spread | holds expected | ratio holds 1 | first order / spread |")
    print("|" + "---|" * 7)
    if arguments.features:
        pool = np.load(arguments.features)
        for n in (50, 100, 200):
            rng = np.random.default_rng(0)

            def subsets(n: int = n, rng: np.random.Generator = rng) -> tuple[Array, Array]:
                rows = rng.permutation(len(pool))[: 2 * n]
                return pool[rows[:n]].astype(np.float64), pool[rows[n:]].astype(np.float64)

            report(f"real features, D={pool.shape[1]}, n={n} of {len(pool)}", arguments.runs, subsets)
        return
    for law, n, d in (
        (isotropic, 200, 16),
        (isotropic, 100, 400),
        (decaying, 200, 64),
        (decaying, 100, 400),
        (clustered, 200, 64),
        (clustered, 200, 400),
        (heavy, 200, 64),
        (decaying, 1000, 64),
    ):
        rng = np.random.default_rng(0)

        def draw(
            law: Callable[..., Array] = law, n: int = n, d: int = d, rng: np.random.Generator = rng
        ) -> tuple[Array, Array]:
            return law(rng, n, d), law(rng, n, d)

        report(f"{law.__name__}, d={d}, n={n}", arguments.runs, draw)


if __name__ == "__main__":
    main()
