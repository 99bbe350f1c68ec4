"""Coverage of the paired interval of two models' difference, on shared seeds and one reference, for every measure.

Run: ``python benchmarks/paired_interval.py [--runs 200]``. Both models see the same noise; the second adds ``own``
noise of its own and is a little wider. Coverage is of the expected difference at these sizes (the mean over runs).
"""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from ldm_eval_quality.inception_score import inception_score
from numpy.typing import NDArray

from ldm_eval.api import Role
from ldm_eval.stats.frechet import frechet_distance
from ldm_eval.stats.frechet_infinity import frechet_limit
from ldm_eval.stats.kernels import GaussianKernel, kernel_distance, unit_rows
from ldm_eval.stats.manifolds import manifold_overlap
from ldm_eval.stats.paired import Contributed, paired_difference

Array = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Pair:
    """The first model draws shift + spread z, the second shift + (spread + wider) z + own e; real images N(0, I)."""

    shift: float
    spread: float
    wider: float
    own: float

    @property
    def label(self) -> str:
        """For the first column."""
        return f"shift {self.shift}, spread {self.spread} and {self.spread + self.wider:g}, own noise {self.own}"


PAIRS = (Pair(0.0, 1.0, 0.0, 0.3), Pair(0.3, 1.1, 0.05, 0.2), Pair(0.5, 1.3, 0.0, 0.5), Pair(0.0, 1.0, 0.2, 2.0))


def measures(samples: Array, reference: Array) -> Mapping[str, Contributed]:
    """Every measure of one model, with what each image contributes."""
    found: dict[str, Contributed] = {}

    def add(name: str, value: float, of_samples: Array, of_reference: Array) -> None:
        contributions: dict[Role, Array] = {"samples": of_samples, "reference": of_reference}
        found[name] = Contributed(value, contributions)

    distance = frechet_distance(samples, reference)
    add("Fréchet distance", distance.value, distance.influence_x, distance.influence_y)
    limit = frechet_limit(samples, reference, rng=np.random.default_rng(0))
    add("Fréchet distance at infinite n", limit.value, limit.influence_x, limit.influence_y)
    cubic = kernel_distance(samples, reference)
    add("kernel distance", cubic.value, cubic.influence_x, cubic.influence_y)
    units = unit_rows(1.0 + samples), unit_rows(1.0 + reference)
    gaussian = kernel_distance(*units, kernel=GaussianKernel(10.0))
    add("Gaussian-kernel distance", gaussian.value, gaussian.influence_x, gaussian.influence_y)
    overlap = manifold_overlap(reference, samples)
    for name in ("precision", "recall", "density", "coverage"):
        share = getattr(overlap, name)
        add(name, share.value, share.influence_generated, share.influence_real)
    score = inception_score((2.0 * samples).astype(np.float32), np.random.default_rng(0))
    found["Inception score"] = Contributed(score.value, {"samples": score.influence})
    return found


def report(pair: Pair, runs: int, n: int = 300, d: int = 8) -> None:
    """A row for each measure."""
    rows: dict[str, list[tuple[float, float, float]]] = {}
    for seed in range(runs):
        rng = np.random.default_rng((seed, 21))
        noise, own, reference = rng.standard_normal((3, n, d))
        one = measures(pair.shift + pair.spread * noise, reference)
        other = measures(pair.shift + (pair.spread + pair.wider) * noise + pair.own * own, reference)
        for name, first in one.items():
            found = paired_difference(first, other[name], ("samples", "reference"))
            rows.setdefault(name, []).append((found.value, found.standard_error, found.unpaired_error))
    for name, values in rows.items():
        table = np.array(values)
        expected, spread = table[:, 0].mean(), table[:, 0].std(ddof=1)
        held = np.mean(np.abs(table[:, 0] - expected) <= 1.959964 * table[:, 1])
        paired, unpaired = (float(np.sqrt(np.mean(table[:, at] ** 2))) for at in (1, 2))
        ratios = f"{paired / spread:.2f} | {unpaired / spread:.2f}"
        print(f"| {pair.label} | {name} | {expected:.4g} | {held:.3f} | {ratios} |", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--runs", type=int, default=200)
    runs = parser.parse_args().runs
    print("| models | measure | expected difference | held in | paired error / spread | unpaired error / spread |")
    print("|" + "---|" * 6)
    for pair in PAIRS:
        report(pair, runs)


if __name__ == "__main__":
    main()
