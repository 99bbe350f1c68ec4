"""The Fréchet distance at infinite n where the limit is known: what is left of the bias, spread, and coverage.

Run: ``python benchmarks/frechet_infinity.py [--runs 200] [--features FILE.npy] [--time]``. *published* extrapolates as
arXiv:1911.07023 does (15 sizes from n / 10 to n evenly spaced, one draw of each from all samples, the whole reference
throughout, least squares against 1/n); *jackknife* is ``frechet_limit``. With ``--features`` (an ``(N, D)`` array of
real features) disjoint subsets are drawn again and again; the limit is what a jackknife of all rows gives.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ldm_eval.stats.frechet import frechet_distance, gaussian_frechet
from ldm_eval.stats.frechet_infinity import frechet_limit

Array = NDArray[np.float64]
Draw = Callable[[np.random.Generator, int], tuple[Array, Array]]


@dataclass(frozen=True, slots=True)
class Law:
    """Samples shift + spread z against z, with variances falling as 1/k^decay; ``kind`` of z: normal, t5 or relu.

    relu: max(0, a mixture of the coordinates), skewed and correlated as the features of a network are.
    """

    kind: str
    d: int
    n: int
    shift: float
    spread: float
    decay: float

    @property
    def label(self) -> str:
        """For the first column."""
        return f"{self.kind} d={self.d} n={self.n} shift={self.shift} spread={self.spread} decay={self.decay}"

    def draw(self, rng: np.random.Generator, n: int) -> tuple[Array, Array]:
        """Samples and real features, n of each."""
        scale = np.arange(1, self.d + 1) ** (-self.decay / 2)
        return self.shift * scale + self.spread * self._real(rng, n), self._real(rng, n)

    def _real(self, rng: np.random.Generator, n: int) -> Array:
        scale = np.arange(1, self.d + 1) ** (-self.decay / 2)
        if self.kind == "t5":
            normal = scale * rng.standard_normal((n, self.d))
            return np.asarray(normal / np.sqrt(rng.chisquare(5, (n, 1)) / 3), dtype=np.float64)
        if self.kind == "relu":
            mix = np.random.default_rng(0).standard_normal((self.d, self.d)) / np.sqrt(self.d)
            mixed = (scale * rng.standard_normal((n, self.d))) @ mix * np.sqrt(self.d)
            return np.asarray(np.maximum(0.0, mixed), dtype=np.float64)
        return np.asarray(scale * rng.standard_normal((n, self.d)), dtype=np.float64)

    def limit(self) -> float:
        """In closed form: scaling about the origin and shifting move mean and covariance alike for every kind."""
        scale = np.arange(1, self.d + 1) ** (-self.decay / 2)
        mean, covariance = self._moments()
        wide = self.spread**2 * covariance
        return gaussian_frechet(self.shift * scale + self.spread * mean, wide, mean, covariance)

    def _moments(self) -> tuple[Array, Array]:
        if self.kind != "relu":
            return np.zeros(self.d), np.diag(np.arange(1, self.d + 1) ** -self.decay)
        rows = self._real(np.random.default_rng(1), 400_000)
        return rows.mean(axis=0), np.cov(rows.T)


LAWS = (
    Law("normal", 64, 128, 0.0, 1.0, 0.0),
    Law("normal", 64, 128, 0.3, 1.3, 0.0),
    Law("normal", 64, 1000, 0.0, 1.0, 0.0),
    Law("normal", 64, 1000, 0.3, 1.3, 0.0),
    Law("normal", 128, 256, 0.3, 1.3, 1.0),
    Law("normal", 128, 1000, 0.1, 1.1, 1.0),
    Law("t5", 64, 200, 0.3, 1.3, 0.5),
    Law("t5", 64, 1000, 0.3, 1.3, 0.5),
    Law("relu", 64, 200, 0.1, 0.9, 1.0),
    Law("relu", 64, 1000, 0.1, 0.9, 1.0),
    Law("normal", 128, 128, 0.3, 1.3, 1.0),
    Law("normal", 128, 64, 0.3, 1.3, 1.0),
    Law("normal", 128, 100, 0.1, 1.1, 2.0),
    Law("relu", 128, 100, 0.1, 0.9, 1.0),
)


def published(x: Array, y: Array, rng: np.random.Generator) -> float:
    """The line of arXiv:1911.07023 at 1/n = 0."""
    sizes = np.linspace(len(x) / 10, len(x), 15).round().astype(int)
    values = [frechet_distance(x[rng.permutation(len(x))[:size]], y).value for size in sizes]
    _, intercept = np.polyfit(1.0 / sizes, values, 1)
    return float(intercept)


def report(label: str, limit: float, d: int, runs: int, draw: Callable[[], tuple[Array, Array]]) -> None:
    """One row: limit, then excess over it and spread of every estimate, and what the interval held."""
    rng = np.random.default_rng(5)
    rows = []
    for _ in range(runs):
        x, y = draw()
        found = frechet_limit(x, y, rng=rng)
        bounds = found.interval
        held = bounds.high >= limit and (bounds.sided == "upper" or bounds.low <= limit)
        theirs = published(x, y, rng) if len(x) >= 100 else float("nan")
        rows.append((found.at_n, found.value, found.from_halves, theirs, found.standard_error, held, bounds.high))
    table = np.array(rows, dtype=float)
    off, spread = table[:, :4].mean(axis=0) - limit, table[:, :4].std(axis=0, ddof=1)
    cells = " | ".join(f"{o:+.3g} ± {s:.2g}" for o, s in zip(off, spread, strict=True))
    ratio = float(np.sqrt(np.mean(table[:, 4] ** 2))) / spread[1]
    side = "two" if min(len(x), len(y)) >= 2 * d else "upper"
    print(f"| {label} | {limit:.4g} | {cells} | {ratio:.2f} | {table[:, 5].mean():.3f} ({side}) |", flush=True)


def times() -> None:
    """Seconds of processor time at the sizes of real runs; with OMP_NUM_THREADS=1, what a free core would take."""
    print("| n = m | d | distance with its error, s | limit, s |\n|---|---|---|---|")
    for n, d in ((1000, 1280), (10_000, 2048)):
        scale = np.arange(1, d + 1, dtype=np.float32) ** -0.5
        rng = np.random.default_rng(0)
        x, y = (scale * rng.standard_normal((n, d), dtype=np.float32) for _ in range(2))
        start = time.process_time()
        frechet_distance(x, y)
        middle = time.process_time()
        frechet_limit(x, y, rng=rng)
        print(f"| {n} | {d} | {middle - start:.2f} | {time.process_time() - middle:.2f} |", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--runs", type=int, default=200)
    parser.add_argument("--features", default="")
    parser.add_argument("--time", action="store_true")
    arguments = parser.parse_args()
    if arguments.time:
        times()
        return
    print(
        "| case | limit | distance at n | jackknife | from halves | published | error / spread | interval holds limit |"
    )
    print("|" + "---|" * 8)
    if arguments.features:
        pool = np.load(arguments.features).astype(np.float64)
        half = len(pool) // 2
        order = np.random.default_rng(0).permutation(len(pool))
        limit = frechet_limit(0.9 * pool[order[:half]], pool[order[half:]], rng=np.random.default_rng(0)).value
        for n in (100, 300, 1000):
            rng = np.random.default_rng(0)

            def draw(n: int = n, rng: np.random.Generator = rng) -> tuple[Array, Array]:
                rows = rng.permutation(len(pool))
                return 0.9 * pool[rows[:n]], pool[rows[n : 2 * n]]

            label = f"real features x 0.9, d={pool.shape[1]}, n=m={n}"
            report(label, limit, pool.shape[1], arguments.runs // (4 if n < 1000 else 10), draw)
        return
    for law in LAWS:
        rng = np.random.default_rng(0)
        runs = arguments.runs if law.n < 1000 else arguments.runs // 2

        def draw_law(law: Law = law, rng: np.random.Generator = rng) -> tuple[Array, Array]:
            return law.draw(rng, law.n)

        report(law.label, law.limit(), law.d, runs, draw_law)


if __name__ == "__main__":
    main()
