"""Coverage of the Fréchet distance's interval, and of the excess over the floor, where the distributions are known.

Run: ``python benchmarks/frechet_interval.py [--runs 400] [--features FILE.npy]``. With ``--features`` (an ``(N, D)``
array of real features) two disjoint subsets are drawn again and again instead, which tests n < d on real features.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ldm_eval.stats.frechet import difference, frechet_distance, gaussian_frechet

Array = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Law:
    """N(shift * s, (spread * s)^2) against N(0, s^2), with s^2 falling as 1/k^decay over the d coordinates."""

    d: int
    n: int
    m: int
    shift: float
    spread: float
    decay: float

    @property
    def scale(self) -> Array:
        """``(d,)`` standard deviations of the real law."""
        return np.arange(1, self.d + 1) ** (-self.decay / 2)

    def samples(self, rng: np.random.Generator, n: int) -> Array:
        """Draw generated features."""
        return self.shift * self.scale + self.spread * self.scale * rng.standard_normal((n, self.d))

    def real(self, rng: np.random.Generator, n: int) -> Array:
        """Draw real features."""
        return self.scale * rng.standard_normal((n, self.d))

    @property
    def limit(self) -> float:
        """The distance at infinite n."""
        s2 = np.diag(self.scale**2)
        return gaussian_frechet(self.shift * self.scale, self.spread**2 * s2, 0 * self.scale, s2)


LAWS = (
    Law(64, 1000, 1000, 0.0, 1.0, 0.0),
    Law(64, 1000, 1000, 0.1, 1.1, 0.0),
    Law(64, 1000, 1000, 0.3, 1.3, 0.0),
    Law(64, 4000, 4000, 0.3, 1.3, 0.0),
    Law(64, 1000, 1000, 0.3, 1.3, 1.0),
    Law(64, 100, 100, 0.3, 1.3, 1.0),
    Law(256, 100, 400, 0.3, 1.3, 1.0),
    Law(256, 100, 100, 0.0, 1.0, 1.0),
    Law(256, 150, 150, 1.0, 2.0, 1.0),
    Law(256, 100, 100, 0.3, 1.3, 2.0),
)


def report(label: str, limit: float | None, runs: int, draw: Callable[[], tuple[Array, Array, Array]]) -> None:
    """Draw (samples, real, other real) again and again; print what the intervals held."""
    distances, differences = [], []
    for _ in range(runs):
        samples, real, other = draw()
        distance = frechet_distance(samples, other)
        distances.append(distance)
        differences.append(difference(distance, frechet_distance(real, other), shared="y"))
    line = f"| {label} |"
    for found in (distances, differences):
        values = np.array([one.value for one in found])
        spread, error = values.std(ddof=1), np.sqrt(np.mean([one.standard_error**2 for one in found]))
        expected = float(values.mean())
        held = [one.interval.low <= expected <= one.interval.high for one in found]
        line += f" {expected:.4g} | {error / spread:.2f} | {np.mean(held):.3f} |"
        if limit is not None:
            held = [one.interval.low <= limit <= one.interval.high for one in found]
            line += f" {np.mean(held):.3f} |"
        else:
            line += " – |"
    print(line + f" {'–' if limit is None else format(limit, '.4g')} |", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--runs", type=int, default=400)
    parser.add_argument("--features", default="")
    arguments = parser.parse_args()
    print("| case | expected | error / spread | holds expected | holds limit", end=" ")
    print("| excess: expected | error / spread | holds expected | holds limit | limit |")
    print("|" + "---|" * 10)
    if arguments.features:
        pool = np.load(arguments.features)
        for n in (50, 100):
            rng = np.random.default_rng(0)

            def draw(n: int = n, rng: np.random.Generator = rng) -> tuple[Array, Array, Array]:
                rows = rng.permutation(len(pool))[: 3 * n]
                blurred = pool[rows[:n]] * 0.9
                return blurred, pool[rows[n : 2 * n]], pool[rows[2 * n :]]

            report(f"real features x 0.9, D={pool.shape[1]}, n=m={n}", None, arguments.runs, draw)
        return
    for law in LAWS:
        rng = np.random.default_rng(0)

        def draw_law(law: Law = law, rng: np.random.Generator = rng) -> tuple[Array, Array, Array]:
            return law.samples(rng, law.n), law.real(rng, law.n), law.real(rng, law.m)

        name = f"d={law.d} n={law.n} m={law.m} shift={law.shift} spread={law.spread} decay={law.decay}"
        report(name, law.limit, arguments.runs if law.n < 4000 else arguments.runs // 4, draw_law)


if __name__ == "__main__":
    main()
