"""Coverage of the paired Fréchet interval: features x ~ N(0, s^2) and their reconstructions y = a x + noise.

The distance at infinite n is ``sum s_k^2 (sqrt(a^2 + b^2) - 1)^2`` with noise of ``b s_k``, and s_k^2 falling as
1/k^decay.

Run: ``python benchmarks/reconstruction_interval.py [--runs 200]``. With ``--features FILE.npy`` (an ``(N, D)`` array of
real features, or two of them stacked as ``(2, N, D)``: images and their reconstructions) subsets are drawn instead.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ldm_eval.stats.frechet import FrechetDistance, frechet_distance
from ldm_eval.stats.resampling import disjoint_parts

Array = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Law:
    """n pairs (x, y = shrink x + noise) in d dimensions."""

    d: int
    n: int
    shrink: float
    noise: float
    decay: float

    @property
    def scale(self) -> Array:
        """``(d,)`` standard deviations of x."""
        return np.arange(1, self.d + 1) ** (-self.decay / 2)

    @property
    def limit(self) -> float:
        """The distance at infinite n."""
        return float(np.square(self.scale).sum() * (np.hypot(self.shrink, self.noise) - 1.0) ** 2)

    def draw(self, rng: np.random.Generator) -> tuple[Array, Array]:
        """Draw n pairs."""
        x, e = rng.standard_normal((2, self.n, self.d)) * self.scale
        return x, self.shrink * x + self.noise * e


LAWS = tuple(
    Law(d, n, shrink, noise, decay)
    for d, n, decay in ((16, 600, 0.0), (64, 1000, 0.0), (64, 1000, 1.0), (64, 100, 1.0), (256, 100, 1.0))
    for shrink, noise in ((0.8, 0.0), (0.8, 0.3), (1.0, 0.3), (1.0, 0.03))
)


def report(label: str, limit: float | None, runs: int, draw: Callable[[], tuple[Array, Array]]) -> None:
    """Draw pairs again and again; print what the intervals held, and what halving the set says of the bias."""
    paired: list[FrechetDistance] = []
    independent, halves = [], []
    rng = np.random.default_rng(1)
    for _ in range(runs):
        x, y = draw()
        paired.append(frechet_distance(x, y, paired=True))
        independent.append(frechet_distance(x, y).standard_error)
        parts = disjoint_parts(len(x), len(x) // 2, rng)
        halves.append(np.mean([frechet_distance(x[rows], y[rows]).value for rows in (parts.first, parts.second)]))
    values = np.array([one.value for one in paired])
    expected, spread = float(values.mean()), float(values.std(ddof=1))
    error = float(np.sqrt(np.mean([one.standard_error**2 for one in paired])))
    held = np.mean([one.interval.low <= expected <= one.interval.high for one in paired])
    line = f"| {label} | {expected:.4g} | {error / spread:.2f} | {np.mean(independent) / spread:.1f} | {held:.3f} |"
    line += f" {np.mean(halves) - expected:.3g} |"
    if limit is None:
        print(line + " – | – | – |", flush=True)
        return
    held = np.mean([one.interval.low <= limit <= one.interval.high for one in paired])
    print(f"{line} {expected - limit:.3g} | {limit:.4g} | {held:.3f} |", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--runs", type=int, default=200)
    parser.add_argument("--features", default="")
    arguments = parser.parse_args()
    print("| case | expected | error / spread | unpaired error / spread | holds expected", end=" ")
    print("| half minus full | bias | limit | holds limit |")
    print("|" + "---|" * 9)
    if not arguments.features:
        for law in LAWS:
            rng = np.random.default_rng(0)
            name = f"d={law.d} n={law.n} shrink={law.shrink} noise={law.noise} decay={law.decay}"
            report(name, law.limit, arguments.runs, lambda law=law, rng=rng: law.draw(rng))  # type: ignore[misc]
        return
    stored = np.load(arguments.features).astype(np.float64)
    images, made = stored if stored.ndim == 3 else (stored, 0.9 * stored)
    for n in (50, 100, 300):
        rng = np.random.default_rng(0)

        def draw(n: int = n, rng: np.random.Generator = rng) -> tuple[Array, Array]:
            rows = rng.permutation(len(images))[:n]
            return images[rows], made[rows]

        report(f"real features, D={images.shape[1]}, n={n} of {len(images)}", None, arguments.runs, draw)


if __name__ == "__main__":
    main()
