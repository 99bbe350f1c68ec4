"""How often do the intervals of corrected shares hold the truth? Prints Markdown tables for docs/checks.

Run: OMP_NUM_THREADS=2 python benchmarks/share_coverage.py --seeds 2000
"""

from __future__ import annotations

import argparse
from dataclasses import dataclass, field
from itertools import product

import numpy as np
from numpy.typing import NDArray

from ldm_eval.api import ConfusionCounts
from ldm_eval.stats.class_shares import corrected_shares, worst_case_shares
from ldm_eval.stats.equivalence import gap_bounds, worst_gap
from ldm_eval.stats.shares import BinaryErrors, CorrectedShare, lang_reiczigel

LEVEL = 0.95
SHARES = (0.02, 0.1, 0.3, 0.5, 0.9)
CLASSIFIERS = ((1.0, 1.0), (0.945, 0.98), (0.85, 0.85), (0.75, 0.80))
CLASSES = tuple("abcdefghij")


@dataclass(frozen=True)
class Setting:
    """Ten classes: true shares, chances of each label, images, labelled images per class, chance of no label."""

    name: str
    shares: NDArray[np.float64]
    rates: NDArray[np.float64]
    n: int
    labelled: tuple[int, ...]
    shown: NDArray[np.float64] = field(default_factory=lambda: np.empty(0))

    @property
    def on_samples(self) -> NDArray[np.float64]:
        """Chances of each label on the generated images, where they differ from the labelled ones."""
        return self.shown if self.shown.size else self.rates


def binary(seeds: int) -> None:
    """Lang-Reiczigel over shares, sizes and classifiers."""
    print("| Se, Sp | n | labelled | " + " | ".join(f"π = {share}" for share in SHARES) + " |")
    print("|---|---|---|" + "---|" * len(SHARES))
    for (se, sp), n, labelled in product(CLASSIFIERS, (200, 1000), (50, 200)):
        cells = []
        for share in SHARES:
            generator = np.random.default_rng([17, int(1000 * se), int(1000 * sp), n, labelled, int(100 * share)])
            shown = share * se + (1 - share) * (1 - sp)
            draws = zip(
                generator.binomial(n, shown, seeds),
                generator.binomial(labelled, se, seeds),
                generator.binomial(labelled, sp, seeds),
                strict=True,
            )
            found = []
            for x, tp, tn in draws:
                errors = BinaryErrors(int(tp), labelled, int(tn), labelled)
                if errors.youden >= 0.5:
                    found.append(lang_reiczigel(int(x), n, errors, LEVEL))
            cells.append(f"{np.mean([_holds(each, share) for each in found]):.3f}")
        print(f"| {se}, {sp} | {n} | {labelled} + {labelled} | " + " | ".join(cells) + " |")


def settings() -> tuple[Setting, ...]:
    """Where the assumptions hold, and where each is strained."""
    even, flat = np.full(10, 0.1), (100,) * 10
    skewed = np.array([0.37] + [0.07] * 9)
    plain = _rates(0.95, 0.0)
    # class a is often taken for b and for nothing else: its weight among the negatives of b matters
    lopsided = plain.copy()
    lopsided[0] = [0.80, 0.16, *[0.005] * 8, 0.0]
    uneven = _rates(0.95, 0.02)
    uneven[0] = [0.70, *[0.05 / 9] * 9, 0.25]
    return (
        Setting("even shares, 95 % recognised", even, plain, 1000, flat),
        Setting("one share 0.37", skewed, plain, 1000, flat),
        Setting("one share 0.37, that class mistaken for one other", skewed, lopsided, 1000, flat),
        Setting("the same, 250 labelled per class, n = 5000", skewed, lopsided, 5000, (250,) * 10),
        Setting("10 % unlabelled, alike for all classes", even, _rates(0.95, 0.1), 1000, flat),
        Setting("2 % unlabelled, 25 % in one class", even, uneven, 1000, flat),
        Setting("the same, twice as many unlabelled in the samples", even, uneven, 1000, flat, _twice_unknown(uneven)),
        Setting("0 % unlabelled on real, 10 % on generated", even, plain, 1000, flat, _rates(0.95, 0.1)),
    )


def several_classes(seeds: int) -> None:
    """Coverage per class and of the worst gap, with the share that is weighted and the one that is not."""
    print("| ten classes | worst-covered class | all classes | gap: truth >= low | gap: truth <= high | pooled Sp |")
    print("|---|---|---|---|---|---|")
    for setting in settings():
        target = np.full(10, 0.1)
        truth_gap = float(np.max(np.abs(setting.shares - target)))
        held, above, below, pooled = [], [], [], []
        generator = np.random.default_rng(23)
        for _ in range(seeds):
            counts, confusion = _draw(setting, generator)
            shares = corrected_shares(counts, confusion, LEVEL)
            held.append([_holds(each, truth) for each, truth in zip(shares, setting.shares, strict=True)])
            pooled.append(
                [_holds(each, truth) for each, truth in zip(_pooled(counts, confusion), setting.shares, strict=True)]
            )
            strict_shares = corrected_shares(counts, confusion, 1 - (1 - LEVEL) / 2 / 10)
            worst = worst_gap(
                *([gap_bounds(s.value, s.low, s.high, 0.1) for s in each] for each in (shares, strict_shares))
            )
            above.append(worst.low <= truth_gap)
            below.append(worst.high >= truth_gap)
        each = np.mean(held, axis=0)
        print(
            f"| {setting.name} | {each.min():.3f} | {each.mean():.3f} | {np.mean(above):.3f} | {np.mean(below):.3f} "
            f"| {np.mean(pooled, axis=0).min():.3f} |"
        )


def worst_case(seeds: int) -> None:
    """Of one class 60 % and of the others none goes unlabelled in the samples: only worst-case bounds can hold."""
    shown = _rates(0.95, 0.0)
    shown[0] = [0.38, *[0.02 / 9] * 9, 0.60]
    setting = Setting("", np.array([0.37] + [0.07] * 9), _rates(0.95, 0.0), 1000, (100,) * 10, shown)
    generator = np.random.default_rng(29)
    plain, wide = [], []
    for _ in range(seeds):
        counts, confusion = _draw(setting, generator)
        plain.append(_holds(corrected_shares(counts, confusion, LEVEL)[0], 0.37))
        wide.append(_holds(worst_case_shares(counts, confusion, LEVEL)[0], 0.37))
    print(f"60 % of one class unlabelled: corrected {np.mean(plain):.3f}, worst case {np.mean(wide):.3f}")


def _draw(setting: Setting, generator: np.random.Generator) -> tuple[NDArray[np.int64], ConfusionCounts]:
    counts = generator.multinomial(setting.n, setting.shares @ setting.on_samples)
    rows = tuple(
        tuple(int(k) for k in generator.multinomial(labelled, row))
        for labelled, row in zip(setting.labelled, setting.rates, strict=True)
    )
    return counts, ConfusionCounts(CLASSES, rows, "simulated")


def _pooled(counts: NDArray[np.int64], confusion: ConfusionCounts) -> list[CorrectedShare]:
    """What one-vs-rest gives when the specificity is taken over the labelled images as they are."""
    matrix = np.array(confusion.counts)
    found = []
    for index in range(len(matrix)):
        positives, right = int(matrix[index].sum()), int(matrix[index, index])
        negatives = int(matrix.sum()) - positives
        errors = BinaryErrors(right, positives, negatives - int(matrix[:, index].sum()) + right, negatives)
        found.append(lang_reiczigel(int(counts[index]), int(counts.sum()), errors, LEVEL))
    return found


def _rates(right: float, unknown: float) -> NDArray[np.float64]:
    rates = np.full((10, 11), (1 - right) / 9)
    np.fill_diagonal(rates, right)
    rates *= 1 - unknown
    rates[:, -1] = unknown
    return rates


def _twice_unknown(rates: NDArray[np.float64]) -> NDArray[np.float64]:
    """Fewer labels by one factor for all classes, so that twice as many are missing in all."""
    doubled = rates.copy()
    kept = rates[:, :-1].sum(axis=1)
    missing = 1 - kept.mean()
    doubled[:, :-1] *= (1 - 2 * missing) / (1 - missing)
    doubled[:, -1] = 1 - doubled[:, :-1].sum(axis=1)
    return doubled


def _holds(share: CorrectedShare, truth: float) -> bool:
    return share.low - 1e-12 <= truth <= share.high + 1e-12


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, default=2000)
    seeds = parser.parse_args().seeds
    print(f"Two classes, nominal {LEVEL}, {seeds} seeds a cell:\n")
    binary(seeds)
    print(f"\nTen classes, {seeds} seeds a row:\n")
    several_classes(seeds)
    print()
    worst_case(seeds)


if __name__ == "__main__":
    main()
