"""fairness/representation: shares of groups among generated images, corrected for classifier error."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar, final

import numpy as np
from numpy.typing import NDArray

from ldm_eval.api import (
    Alarm,
    AttributeLabels,
    Evidence,
    Figure,
    Finding,
    Interval,
    Invalid,
    Measurement,
    Needs,
    NotApplicable,
    PhantomCase,
    Phantoms,
    Planning,
    Series,
    Table,
)
from ldm_eval.errors import ConfigError, DataError
from ldm_eval.stats.class_shares import (
    class_errors,
    class_shares,
    corrected_shares,
    label_counts,
    worst_case_shares,
)
from ldm_eval.stats.equivalence import chi_square, gap_bounds, tost_sample_size, total_variation, worst_gap
from ldm_eval.stats.proportions import clopper_pearson
from ldm_eval.stats.shares import MIN_YOUDEN, BinaryErrors, CorrectedShare
from ldm_eval_fairness.targets import Targets, declared_targets

__all__ = ["MAX_UNKNOWN", "Representation"]

MAX_UNKNOWN = 0.20
"""With more images than this left unlabelled, what they could hold decides: intervals take the worst case."""

_PER_CLASS = "Lang-Reiczigel"
_SIMULTANEOUS = "Lang-Reiczigel; Bonferroni below, intersection-union above"


@final
@dataclass(frozen=True, slots=True, eq=False)
class _Case:
    """All that the findings are written from."""

    labels: AttributeLabels
    counts: NDArray[np.int64]
    errors: tuple[BinaryErrors, ...]
    targets: Targets
    level: float
    margin: float

    @property
    def classes(self) -> tuple[str, ...]:
        return self.labels.confusion.classes

    @property
    def total(self) -> int:
        return int(self.counts.sum())

    @property
    def unknown(self) -> int:
        return int(self.counts[-1])

    @property
    def open_ended(self) -> bool:
        """So many images are unlabelled that only worst-case bounds are honest."""
        return self.unknown > MAX_UNKNOWN * self.total

    @property
    def errors_digest(self) -> str:
        """Two runs with equal digests were corrected with the same confusion counts."""
        confusion = self.labels.confusion
        return hashlib.sha256(repr((confusion.classes, confusion.counts)).encode()).hexdigest()[:16]

    @property
    def simultaneous_level(self) -> float:
        """Level at which all classes together err on one side with half of 1 - level (Bonferroni)."""
        return 1 - (1 - self.level) / 2 / len(self.classes)

    def shares(self, level: float) -> tuple[CorrectedShare, ...]:
        correct = worst_case_shares if self.open_ended else corrected_shares
        return correct(self.counts, self.labels.confusion, level)

    def estimator(self, name: str) -> str:
        return f"{name}, worst case over unlabelled images" if self.open_ended else name


@final
class Representation:
    """Shares of groups among generated images against a declared target."""

    id: ClassVar[str] = "fairness/representation"
    title: ClassVar[str] = "Representation of groups"
    question: ClassVar[str] = "Do the groups that generated images show have the shares that were declared?"
    settings: ClassVar[tuple[str, ...]] = ("target", "target.*", "level", "margin")
    planning: ClassVar[Mapping[str, Planning]] = {
        "worst_share_gap": Planning("gap", perfect=0.0, parameters={"target": 0.5}),
        "corrected_share": Planning("share"),
        "unknown_share": Planning("proportion", perfect=0.0),
    }
    needs: ClassVar[Needs] = Needs(samples=100, attributes=("samples",))
    phantoms: ClassVar[Phantoms] = Phantoms(
        measurement="worst_share_gap",
        alarm=Alarm("low", ">", 0.0),
        catches=PhantomCase(
            "ldm_eval_fairness.phantoms:chosen_share",
            "one of two groups is 10 points short of its target",
            {"share": 0.4, "target": 0.5},
            truth=0.1,
        ),
        leaves_alone=PhantomCase(
            "ldm_eval_fairness.phantoms:chosen_share",
            "both groups are on target, seen through a classifier that is wrong on 4 % of the images",
            {"share": 0.5, "target": 0.5},
            truth=0.0,
        ),
    )

    def run(self, evidence: Evidence) -> Sequence[Finding] | NotApplicable | Invalid:
        """Correct the shares, and bound their distance from the targets."""
        labels = evidence.attributes("samples")
        classes = labels.confusion.classes
        targets = declared_targets(evidence.parameters, classes, labels.declared)
        if not isinstance(targets, Targets):
            return targets
        try:
            counts = label_counts(labels.labels, classes)
            errors = class_errors(counts, labels.confusion)
        except DataError as error:
            return Invalid(str(error))
        weakest = min(range(len(classes)), key=lambda index: errors[index].youden)
        if errors[weakest].youden < MIN_YOUDEN:
            return Invalid(
                f"The classifier '{labels.classifier}' tells '{classes[weakest]}' too poorly to correct its share: "
                f"Youden's J is {errors[weakest].youden:.2f}, at least {MIN_YOUDEN} is needed. More samples do not "
                "help; a better classifier does."
            )
        level, margin = _setting(evidence, "level", 0.95), _setting(evidence, "margin", 0.05)
        case = _Case(labels, counts, errors, targets, level, margin)
        for name, share in zip(classes, case.shares(case.simultaneous_level), strict=True):
            if share.outside:
                return Invalid(
                    f"{share.raw:.1%} of the images were called '{name}', which no true share explains: the classifier "
                    f"'{labels.classifier}' errs otherwise on these images than on the labelled ones. Count its "
                    "errors on labelled generated images, or use another classifier."
                )
        return [
            *_shares(evidence, case),
            _worst_gap(evidence, case),
            _unknown(evidence, case),
            _table(case),
            _figure(case),
        ]


def _setting(evidence: Evidence, name: str, default: float) -> float:
    value = evidence.parameters.get(name, default)
    if isinstance(value, bool | str) or not 0 < value < 1:
        raise ConfigError(f"{name} = {value!r} for {evidence.check}: it is a number between 0 and 1.")
    return float(value)


def _shares(evidence: Evidence, case: _Case) -> list[Measurement]:
    found = []
    for name, target, share in zip(case.classes, case.targets.shares, case.shares(case.level), strict=True):
        note = f"Target {target:.3f} ({case.targets.source}); gap {share.value - target:+.3f}."
        if share.clipped:
            note += " Clipped to [0, 1]: the share is at the border, or the classifier errs differently here."
        found.append(
            evidence.measurement(
                "corrected_share",
                share.value,
                Interval(share.low, share.high, case.level, case.estimator(_PER_CLASS)),
                n=case.total,
                unit="share",
                direction="target",
                group=name,
                note=note,
                target=target,
                attribute=case.labels.attribute,
                classifier=case.labels.classifier,
                classifier_errors=case.errors_digest,
                level=case.level,
            )
        )
    return found


def _worst_gap(evidence: Evidence, case: _Case) -> Measurement:
    targets = case.targets.shares
    upper = [gap_bounds(s.value, s.low, s.high, t) for s, t in zip(case.shares(case.level), targets, strict=True)]
    strict_shares = case.shares(case.simultaneous_level)
    lower = [gap_bounds(s.value, s.low, s.high, t) for s, t in zip(strict_shares, targets, strict=True)]
    worst = worst_gap(upper, lower)
    name = case.classes[max(range(len(upper)), key=lambda index: upper[index].value)]
    return evidence.measurement(
        "worst_share_gap",
        worst.value,
        Interval(worst.low, worst.high, case.level, case.estimator(_SIMULTANEOUS)),
        n=case.total,
        unit="share",
        direction="lower",
        note=f"Largest at '{name}'. {_advice(case)}",
        targets=", ".join(f"{c}={t:.6g}" for c, t in zip(case.classes, targets, strict=True)),
        level=case.level,
        attribute=case.labels.attribute,
        classifier=case.labels.classifier,
        classifier_errors=case.errors_digest,
    )


def _advice(case: _Case) -> str:
    """What it would take to show that all groups are within the margin of their targets."""
    if case.open_ended:
        return (
            f"Inconclusive by itself: {case.unknown / case.total:.0%} of the images got no label, more than "
            f"{MAX_UNKNOWN:.0%}; the interval holds whatever they show."
        )
    alpha = (1 - case.level) / 2
    needed = [
        tost_sample_size(target, case.margin, errors, alpha=alpha)
        for target, errors in zip(case.targets.shares, case.errors, strict=True)
    ]
    enough = [n for n in needed if n is not None]
    if len(enough) < len(needed):
        return f"To show all within ±{case.margin:g} more labelled images are needed, not more samples."
    return f"To show a group that is on target to be within ±{case.margin:g} takes {max(enough):,} images (power 90 %)."


def _unknown(evidence: Evidence, case: _Case) -> Measurement:
    return evidence.measurement(
        "unknown_share",
        case.unknown / case.total,
        clopper_pearson(case.unknown, case.total, case.level),
        n=case.total,
        unit="share",
        direction="lower",
        note=f"Images that '{case.labels.classifier}' gave no label.",
        attribute=case.labels.attribute,
        classifier=case.labels.classifier,
        classifier_errors=case.errors_digest,
    )


def _table(case: _Case) -> Table:
    confusion = case.labels.confusion
    expected = _shown_on_target(case)
    rows: list[tuple[str | int | float | None, ...]] = []
    for index, (name, share) in enumerate(zip(case.classes, case.shares(case.level), strict=True)):
        most = (int(case.counts[index]) + case.unknown) / case.total
        rows.append(
            (
                name,
                round(case.targets.shares[index], 4),
                round(share.raw, 4),
                round(most, 4),
                round(share.value, 4),
                round(share.low, 4),
                round(share.high, 4),
                round(case.errors[index].sensitivity, 4),
                sum(confusion.counts[index]),
            )
        )
    shares = class_shares(case.counts, confusion).shares
    distance = total_variation(shares, np.array(case.targets.shares))
    note = (
        f"Target: {case.targets.source}. Classifier '{case.labels.classifier}', errors counted on {confusion.source}. "
        f"{case.labels.limits} Total variation from the target (all classes together, point estimate): {distance:.3f}."
    )
    labelled = case.counts[:-1]
    if np.all(labelled.sum() * expected >= 5):
        test = chi_square(labelled, expected)
        note += (
            f" Chi-square of the labels against what this classifier would show on target: {test.statistic:.1f} on "
            f"{test.degrees} degrees, p = {test.p_value:.2g} (takes the classifier's errors as exact)."
        )
    columns = (
        case.labels.attribute,
        "target",
        "labelled so",
        "at most (with unlabelled)",
        "corrected",
        "low",
        "high",
        "recognised",
        "real images labelled",
    )
    return Table("shares", f"Shares of {case.labels.attribute} among generated images", columns, tuple(rows), note)


def _shown_on_target(case: _Case) -> NDArray[np.float64]:
    """Shares that a generator on target would show among labelled images, through this classifier."""
    matrix = np.array(case.labels.confusion.counts, dtype=np.float64)
    shown = np.array(case.targets.shares) @ (matrix / matrix.sum(axis=1, keepdims=True))
    labelled: NDArray[np.float64] = shown[:-1] / shown[:-1].sum()
    return labelled


def _figure(case: _Case) -> Figure:
    shares = case.shares(case.level)
    attribute = case.labels.attribute
    return Figure(
        name="shares",
        kind="intervals",
        title=f"Shares of {attribute}: generated against target",
        alt=(
            f"Corrected share of each class of {attribute} among {case.total:,} generated images with its "
            f"{case.level:.0%} interval, beside its target ({case.targets.source}). Notice intervals that miss it."
        ),
        x_label=attribute,
        y_label="share of images",
        series=(
            Series(
                "generated, corrected",
                case.classes,
                tuple(share.value for share in shares),
                tuple(share.low for share in shares),
                tuple(share.high for share in shares),
            ),
            Series(f"target: {case.targets.source}", case.classes, case.targets.shares),
        ),
    )
