"""Coverage of the intervals of the sliced distance (MIND) and of the mean pairwise distance where truths are known.

Run: ``python benchmarks/sliced_interval.py [--runs 300] [--features FILE.npy]``. The excess over the floor has the
closed form 3 d shift^2 under a shift at every n; the expected distance at this n is the mean over the runs. With
``--features`` (an ``(N, D)`` array of real features) disjoint subsets are drawn again and again instead, samples
shrunk towards zero by a tenth.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from ldm_eval.api import Interval
from ldm_eval.stats.sliced import difference, sliced_distance, unit_directions
from ldm_eval.stats.spread import mean_pairwise_distance, spread_ratio

Array = NDArray[np.float64]
Draw = Callable[[], tuple[Array, Array, Array]]


def held(intervals: Sequence[Interval], truth: float) -> str:
    """Share of intervals that hold the truth, and share that lie above it."""
    holds = np.mean([one.low <= truth <= one.high for one in intervals])
    above = np.mean([one.low > truth for one in intervals])
    return f"{holds:.3f} | {above:.3f}"


def sliced(label: str, truth: float | None, count: int, runs: int, draw: Draw) -> None:
    """Samples and real images against the same other real images, with new directions each time."""
    matched, excess = [], []
    rng = np.random.default_rng(1)
    for _ in range(runs):
        samples, real, other = draw()
        directions = unit_directions(count, samples.shape[1], rng)
        distance = sliced_distance(samples, other, directions)
        matched.append(distance)
        excess.append(difference(distance, sliced_distance(real, other, directions), shared="y"))
    expected = float(np.mean([one.value for one in matched]))
    values = np.array([one.value for one in excess])
    error = np.sqrt(np.mean([one.standard_error**2 for one in excess])) / values.std(ddof=1)
    answer = float(values.mean()) if truth is None else truth
    print(
        f"| {label} | {count} | {expected:.4g} | {held([one.interval for one in matched], expected)} "
        f"| {'–' if truth is None else format(truth, '.4g')} | {values.mean():.4g} | {error:.2f} "
        f"| {held([one.interval for one in excess], answer)} |",
        flush=True,
    )


def spread(label: str, runs: int, draw: Draw) -> None:
    """Mean pairwise distance of real images, and the ratio of two real sets."""
    found, ratios = [], []
    for _ in range(runs):
        _, real, other = draw()
        one = mean_pairwise_distance(real)
        found.append(one)
        ratios.append(spread_ratio(one, mean_pairwise_distance(other)).interval)
    values = np.array([one.value for one in found])
    error = np.sqrt(np.mean([one.standard_error**2 for one in found])) / values.std(ddof=1)
    alone = held([one.interval for one in found], float(values.mean()))
    print(f"| {label} | {values.mean():.4g} | {error:.2f} | {alone} | {held(ratios, 1.0)} |", flush=True)


def cases(pool: Array | None) -> list[tuple[str, float | None, int, Draw]]:
    """Label, truth of the excess, directions, and a draw of (samples, real, other real)."""
    found: list[tuple[str, float | None, int, Draw]] = []
    if pool is not None:
        for n in (50, 100, 200):
            rng = np.random.default_rng(0)

            def subsets(n: int = n, rng: np.random.Generator = rng) -> tuple[Array, Array, Array]:
                rows = rng.permutation(len(pool))[: 3 * n]
                return 0.9 * pool[rows[:n]], pool[rows[n : 2 * n]], pool[rows[2 * n :]]

            found.append((f"real features x 0.9, D={pool.shape[1]}, n={n}", None, 200, subsets))
        return found
    for d, n, shift, scale, count in (
        (16, 200, 0.0, 1.0, 200),
        (16, 200, 0.1, 1.0, 200),
        (16, 200, 0.3, 1.0, 200),
        (16, 200, 0.3, 1.0, 20),
        (16, 50, 0.3, 1.0, 200),
        (100, 100, 0.0, 1.0, 200),
        (100, 100, 0.2, 1.0, 200),
        (16, 200, 0.0, 0.7, 200),
    ):
        rng = np.random.default_rng(0)

        def draw(
            d: int = d, n: int = n, shift: float = shift, scale: float = scale, rng: np.random.Generator = rng
        ) -> tuple[Array, Array, Array]:
            samples, real, other = rng.standard_normal((3, n, d))
            return shift + scale * samples, real, other

        truth = 3.0 * d * (shift**2 + (scale - 1.0) ** 2)
        found.append((f"d={d} n={n} shift={shift} scale={scale}", truth, count, draw))
    return found


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--runs", type=int, default=300)
    parser.add_argument("--features", default="")
    arguments = parser.parse_args()
    pool = np.load(arguments.features).astype(np.float64) if arguments.features else None
    print("| case | directions | expected | holds it | above it", end=" ")
    print("| excess: limit | mean | error / spread | holds limit | above it |")
    print("|" + "---|" * 10)
    for label, truth, count, draw in cases(pool):
        sliced(label, truth, count, arguments.runs, draw)
    print("\n| case | mean distance | error / spread | holds it | above it | ratio holds 1 | above it |")
    print("|" + "---|" * 7)
    for label, truth, _, draw in cases(pool):
        if truth is None or truth == 0.0:
            spread(label, arguments.runs, draw)


if __name__ == "__main__":
    main()
