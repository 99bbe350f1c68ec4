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
from ldm_eval.stats.shares import BinaryErrors, lang_reiczigel

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


def drifted(sensitivity: float, draws: int) -> tuple[float, float, float]:
    """Coverage where generated images are recognised at this rate and real ones at 0.945: audit, check, corrected.

    True share 0.5, specificity 0.98 everywhere, 2,000 images of which 200 are audited. The check trusts 400 + 400 real
    images; *corrected* is Lang-Reiczigel with the errors counted on the audited images.
    """
    rng = np.random.Generator(np.random.PCG64(8))
    cells = (0.5 * sensitivity, 0.5 * (1 - sensitivity), 0.5 * 0.02, 0.5 * 0.98)
    held = np.zeros(3)
    for _ in range(draws):
        counts = AuditCounts(*rng.multinomial(200, cells).tolist())
        called = int(rng.binomial(1800, cells[0] + cells[2]))
        on_real = BinaryErrors(rng.binomial(400, 0.945), 400, rng.binomial(400, 0.98), 400)
        on_generated = BinaryErrors(
            counts.both, counts.both + counts.only_people, counts.neither, counts.neither + counts.only_classifier
        )
        powered = prediction_powered_share(called, 1800, counts, LEVEL).interval
        in_all = called + counts.both + counts.only_classifier
        check = lang_reiczigel(in_all, 2000, on_real, LEVEL)
        corrected = lang_reiczigel(called, 1800, on_generated, LEVEL)
        held += [one.low <= 0.5 <= one.high for one in (powered, check, corrected)]
    powered_held, check_held, corrected_held = (float(count) / draws for count in held)
    return powered_held, check_held, corrected_held


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
    print("\n| recognised among generated | prediction-powered | the check | corrected by the audit |")
    print("|---|---|---|---|")
    for sensitivity in (0.945, 0.9, 0.85, 0.75):
        audit, check, corrected = drifted(sensitivity, draws)
        print(f"| {sensitivity} | {audit:.3f} | {check:.3f} | {corrected:.3f} |")


if __name__ == "__main__":
    main()
