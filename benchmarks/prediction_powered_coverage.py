"""How often do prediction-powered intervals of a share hold the truth? Prints Markdown tables for the docs.

Run: OMP_NUM_THREADS=1 python benchmarks/prediction_powered_coverage.py --draws 4000
"""

from __future__ import annotations

import argparse
from itertools import product

import numpy as np

from ldm_eval.stats.intervals import normal_quantile
from ldm_eval.stats.prediction_powered import AuditCounts, prediction_powered_share
from ldm_eval.stats.proportions import clopper_pearson

LEVEL = 0.95
SHARES = (0.02, 0.1, 0.3, 0.5)
CLASSIFIERS = ((1.0, 1.0), (0.995, 0.995), (0.945, 0.98), (0.85, 0.85))
SIZES = ((50, 950), (200, 800), (200, 9800))


def plain(called: int, unaudited: int, counts: AuditCounts) -> tuple[float, float]:
    """The interval as published: normal, with the empirical variances."""
    raw, n = called / unaudited, counts.images
    spread = (counts.only_people + counts.only_classifier) / n - counts.rectifier**2
    half = normal_quantile(LEVEL) * (raw * (1 - raw) / unaudited + spread / n) ** 0.5
    return raw + counts.rectifier - half, raw + counts.rectifier + half


def row(share: float, se: float, sp: float, audited: int, unaudited: int, draws: int) -> tuple[float, ...]:
    """Coverage of this interval, of the published one, and the widths of this one and of people's labels alone."""
    rng = np.random.Generator(np.random.PCG64(7))
    cells = (share * se, share * (1 - se), (1 - share) * (1 - sp), (1 - share) * sp)
    audits = rng.multinomial(audited, cells, size=draws)
    calls = rng.binomial(unaudited, cells[0] + cells[2], size=draws)
    held, published, width, alone = 0, 0, 0.0, 0.0
    for audit, called in zip(audits.tolist(), calls.tolist(), strict=True):
        counts = AuditCounts(*audit)
        interval = prediction_powered_share(called, unaudited, counts, LEVEL).interval
        low, high = plain(called, unaudited, counts)
        people = clopper_pearson(counts.both + counts.only_people, audited, LEVEL)
        held += interval.low <= share <= interval.high
        published += low <= share <= high
        width += interval.high - interval.low
        alone += people.high - people.low
    return held / draws, published / draws, width / draws, alone / draws


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--draws", type=int, default=4000)
    draws = parser.parse_args().draws
    print("| audited + not | Se, Sp | share | holds the truth | as published | width | people alone |")
    print("|---|---|---|---|---|---|---|")
    for (audited, unaudited), (se, sp), share in product(SIZES, CLASSIFIERS, SHARES):
        held, published, width, alone = row(share, se, sp, audited, unaudited, draws)
        print(
            f"| {audited} + {unaudited:,} | {se}, {sp} | {share} | {held:.3f} | {published:.3f} | "
            f"{width:.3f} | {alone:.3f} |"
        )


if __name__ == "__main__":
    main()
