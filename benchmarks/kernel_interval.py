"""Coverage of the intervals of the kernel distances (closed forms known) and of the Inception score (expected value).

Run: ``python benchmarks/kernel_interval.py [--runs 400]``.
"""

from __future__ import annotations

import argparse

import numpy as np
from ldm_eval_quality.direction_phantom import directions, gaussian_discrepancy_of_directions
from ldm_eval_quality.inception_score import inception_score

from ldm_eval.stats.kernels import GaussianKernel, kernel_distance, polynomial_mmd_of_gaussians, unit_rows


def kernel(runs: int) -> None:
    print("| d | n | m | shift | closed form | mean | error / spread | holds closed form | low bound above it |")
    print("|" + "---|" * 9)
    for d, n, m, shift in (
        (16, 200, 200, 0.0),
        (16, 200, 200, 0.1),
        (16, 200, 400, 0.3),
        (16, 50, 50, 0.0),
        (64, 1000, 1000, 0.1),
    ):
        rng = np.random.default_rng(0)
        truth = polynomial_mmd_of_gaussians(np.zeros(d), np.full(d, shift))
        found = [
            kernel_distance(rng.standard_normal((n, d)), rng.standard_normal((m, d)) + shift)
            for _ in range(runs if n < 1000 else runs // 6)
        ]
        values = np.array([one.value for one in found])
        error = np.sqrt(np.mean([one.standard_error**2 for one in found]))
        held = np.mean([one.interval.low <= truth <= one.interval.high for one in found])
        above = np.mean([one.interval.low > truth for one in found])
        print(
            f"| {d} | {n} | {m} | {shift} | {truth:.4f} | {values.mean():.4f} | {error / values.std(ddof=1):.2f} "
            f"| {held:.3f} | {above:.3f} |"
        )


def gaussian(runs: int) -> None:
    """1000 MMD^2 with the Gaussian kernel, samples on some of eight axes and real images on all of them."""
    print("| axes drawn | n | m | exact | mean | error / spread | holds it | low bound above it | as published: mean |")
    print("|" + "---|" * 9)
    for drawn, n, m in ((8, 200, 200), (8, 50, 50), (7, 200, 200), (6, 200, 400), (2, 200, 200), (6, 1000, 1000)):
        exact = gaussian_discrepancy_of_directions(drawn, 8)
        found = []
        for seed in range(runs if n < 1000 else runs // 4):
            given = directions(seed, drawn=drawn, n=n, m=m)
            samples, real = unit_rows(given.features("samples")), unit_rows(given.features("reference"))
            found.append(kernel_distance(samples, real, kernel=GaussianKernel(10.0)))
        values = 1000 * np.array([one.value for one in found])
        error = 1000 * np.sqrt(np.mean([one.standard_error**2 for one in found]))
        held = np.mean([1000 * one.interval.low <= exact <= 1000 * one.interval.high for one in found])
        above = np.mean([1000 * one.interval.low > exact for one in found])
        published = 1000 * np.mean([one.biased for one in found])
        print(
            f"| {drawn} | {n} | {m} | {exact:.4f} | {values.mean():.4f} | {error / values.std(ddof=1):.2f} "
            f"| {held:.3f} | {above:.3f} | {published:.4f} |"
        )


def score(runs: int) -> None:
    print("| n | classes | expected score | holds it |")
    print("|" + "---|" * 4)
    for n, classes, size in ((300, 20, 2.0), (1000, 100, 3.0), (200, 1000, 3.0)):
        rng = np.random.default_rng(0)
        found = [
            inception_score((size * rng.standard_normal((n, classes))).astype(np.float32), np.random.default_rng(seed))
            for seed in range(runs if classes < 1000 else runs // 4)
        ]
        expected = np.mean([one.value for one in found])
        held = np.mean([one.interval.low <= expected <= one.interval.high for one in found])
        print(f"| {n} | {classes} | {expected:.3f} | {held:.2f} |")


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--runs", type=int, default=400)
    runs = parser.parse_args().runs
    kernel(runs)
    gaussian(runs)
    score(runs)


if __name__ == "__main__":
    main()
