"""Coverage of the intervals of precision, recall, density and coverage for their expected value at these set sizes.

Run: ``python benchmarks/manifold_interval.py [--runs 300]``. Real: N(0, I); generated: N(shift, scale^2 I); k = 5.
"""

from __future__ import annotations

import argparse

import numpy as np

from ldm_eval.stats.manifolds import manifold_overlap

CASES = (
    (8, 200, 200, 0.0, 1.0),
    (8, 200, 200, 0.5, 1.0),
    (8, 200, 200, 0.0, 1.5),
    (8, 200, 200, 0.0, 0.6),
    (64, 200, 200, 0.0, 1.0),
    (64, 400, 200, 0.2, 0.9),
    (4, 500, 500, 0.5, 0.8),
    (8, 50, 50, 0.3, 1.0),
)
"""(d, real, generated, shift, scale)."""


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--runs", type=int, default=300)
    runs = parser.parse_args().runs
    print("| d | real | generated | shift | scale | precision | recall | density | coverage |")
    print("|" + "---|" * 9)
    for d, m, n, shift, scale in CASES:
        rng = np.random.default_rng(0)
        found = [
            manifold_overlap(rng.standard_normal((m, d)), shift + scale * rng.standard_normal((n, d)))
            for _ in range(runs)
        ]
        line = f"| {d} | {m} | {n} | {shift} | {scale} |"
        for name in ("precision", "recall", "density", "coverage"):
            ones = [getattr(overlap, name) for overlap in found]
            values = np.array([one.value for one in ones])
            held = np.mean([one.interval.low <= values.mean() <= one.interval.high for one in ones])
            error = np.sqrt(np.mean([one.standard_error**2 for one in ones]))
            line += f" {values.mean():.3f}: {held:.3f} ({error / values.std(ddof=1):.2f}) |"
        print(line, flush=True)
    print("Each cell: expected value: share of intervals that hold it (root mean square error / true spread).")


if __name__ == "__main__":
    main()
