"""Fréchet distance and coverage of each class of samples against real images of the same class, at equal sizes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import ClassVar, final

import numpy as np
from numpy.typing import NDArray

from ldm_eval.api import (
    Alarm,
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
    SignatureValue,
    Table,
)
from ldm_eval.errors import ConfigError
from ldm_eval.stats.class_comparison import ClassComparison, WorstOf, compare_class, worst_of
from ldm_eval.stats.resampling import subset
from ldm_eval_quality.chosen_rows import at_rows, joined
from ldm_eval_quality.feature_sets import repeats_note, usable_features
from ldm_eval_quality.naming import frechet_name

__all__ = ["PerClassCheck"]

_FACTORY = "ldm_eval_quality.conditional_phantoms:conditional"
_FEWEST = 30
"""Fewest samples of a class, and half the fewest real images: below it a class is listed with the reason."""
_SMALLEST = 10
_K = 5
_SHOWN = 100
"""Most classes whose numbers are reported one by one: of more, those with the largest excess."""
_DRAWN = 40
_NAMED = 3
_UNIT = "squared feature distance"


@dataclass(frozen=True, slots=True, eq=False)
class _Class:
    """One class with its rows; ``reason`` says why it is not compared, empty when it is."""

    label: int
    samples: NDArray[np.int64]
    reference: NDArray[np.int64]
    reason: str = ""

    @property
    def name(self) -> str:
        return f"class {self.label}"


@dataclass(frozen=True, slots=True, eq=False)
class _Compared:
    """One class compared: the rows ``drawn`` of the samples, ``real`` and ``others`` of the reference."""

    of: _Class
    drawn: NDArray[np.int64]
    real: NDArray[np.int64]
    others: NDArray[np.int64]
    found: ClassComparison


@dataclass(frozen=True, slots=True, eq=False)
class _Outcome:
    """All classes: those compared, worst excess first, and those left out with the reason."""

    compared: tuple[_Compared, ...]
    left_out: tuple[_Class, ...]
    n: int
    others: int
    signature: Mapping[str, SignatureValue] = field(default_factory=dict)

    @property
    def shown(self) -> tuple[_Compared, ...]:
        """The classes that are reported one by one."""
        return self.compared[:_SHOWN]


@final
class PerClassCheck:
    """Each class of samples against real images of the same class; the headline is the excess of the worst class.

    A mean over all classes hides one that is broken, and the distance of all samples does not see that two classes
    were exchanged. All classes are compared at one n, so their numbers compare with each other.

    Setting: ``fewest`` (30) samples of a class, and twice as many real images of it; raising it drops small classes and
    gives the others a larger n.
    """

    id: ClassVar[str] = "quality/per_class"
    title: ClassVar[str] = "Quality by class"
    question: ClassVar[str] = "Is each class as close to real images of it as real images are to each other?"
    settings: ClassVar[tuple[str, ...]] = ("fewest",)
    needs: ClassVar[Needs] = Needs(
        samples=_FEWEST, roles=("reference",), features=("samples", "reference"), each_extractor=True
    )
    planning: ClassVar[Mapping[str, Planning]] = {
        "*": Planning("mean", "samples, and twice as many reference images", parameters={"curved": 1.0})
    }
    phantoms: ClassVar[Phantoms] = Phantoms(
        measurement="worst_class_frechet_distance_excess",
        alarm=Alarm("low", ">", 0.0),
        catches=PhantomCase(_FACTORY, "one of four classes shifted by half a standard deviation", {"shift": 0.5}, 2.0),
        leaves_alone=PhantomCase(_FACTORY, "every class another draw of its own law", {"shift": 0.0}, 0.0),
    )

    def run(self, evidence: Evidence) -> Sequence[Finding] | NotApplicable | Invalid:
        """Compare class by class. NotApplicable without labels, or where every class is too small."""
        fewest = evidence.parameters.get("fewest", _FEWEST)
        if isinstance(fewest, bool) or not isinstance(fewest, int) or fewest < _SMALLEST:
            raise ConfigError(f"{self.id}: fewest = {fewest!r} was asked for; give a whole number from {_SMALLEST} on.")
        classes = _classes(evidence, fewest)
        if isinstance(classes, NotApplicable):
            return classes
        outcome = _compare(evidence, classes, fewest)
        name = frechet_name(evidence.extractor())
        _keep(evidence, name, outcome)
        repeats = repeats_note(usable_features(evidence, "reference"))
        findings: list[Finding] = [*_worst(evidence, name, outcome, repeats)]
        for one in outcome.shown:
            findings.extend(_of_class(evidence, name, outcome, one))
        return [*findings, _table(name, outcome), _figure(name, outcome)]


def _classes(evidence: Evidence, fewest: int) -> list[_Class] | NotApplicable:
    samples, reference = evidence.images("samples").labels, evidence.images("reference").labels
    if samples is None:
        return NotApplicable(
            "The samples have no class labels: ask a class-conditional model for classes with --classes, or give "
            "finished images a column 'label' in the CSV beside them."
        )
    if reference is None:
        return NotApplicable(
            "The reference images have no class labels: give them a column 'label' in the CSV beside them."
        )
    features = usable_features(evidence, "reference")
    found = [
        _judged(int(label), np.flatnonzero(samples == label), np.flatnonzero(reference == label), features, fewest)
        for label in np.union1d(samples, reference)
    ]
    if all(one.reason for one in found):
        listed = "; ".join(f"{one.name}: {one.reason}" for one in found[:3])
        return NotApplicable(f"None of {len(found)} classes can be compared ({listed}).")
    return found


def _judged(
    label: int, samples: NDArray[np.intp], reference: NDArray[np.intp], features: NDArray[np.float32], fewest: int
) -> _Class:
    """The class, with the reason why it cannot be compared."""
    n, m = len(samples), len(reference)
    reason = ""
    if n < fewest:
        reason = f"{n} samples, fewer than {fewest}" if n else "no samples of this class"
    elif m < 2 * fewest:
        reason = f"{m} reference images, fewer than {2 * fewest}" if m else "no reference images of this class"
    elif not np.ptp(features[reference], axis=0).any():
        reason = "all its reference images have one and the same feature vector"
    return _Class(label, samples.astype(np.int64), reference.astype(np.int64), reason)


def _compare(evidence: Evidence, classes: Sequence[_Class], fewest: int) -> _Outcome:
    usable = [one for one in classes if not one.reason]
    n = min(min(len(one.samples), len(one.reference) // 2) for one in usable)
    m = min(len(one.reference) for one in usable) - n
    samples, reference = usable_features(evidence, "samples"), usable_features(evidence, "reference")
    compared = []
    for one in usable:
        drawn = one.samples[subset(len(one.samples), n, evidence.rng(f"samples of {one.name}"))]
        order = one.reference[evidence.rng(f"reference of {one.name}").permutation(len(one.reference))]
        real, others = order[:n], order[n : n + m]
        found = compare_class(samples[drawn], reference[real], reference[others], k=_K, classes=len(usable))
        compared.append(_Compared(one, drawn, real, others, found))
    compared.sort(key=lambda one: -one.found.excess.value)
    signature: dict[str, SignatureValue] = {"k": _K, "real_n": n, "other_real_n": m, "classes": len(usable)}
    return _Outcome(tuple(compared), tuple(one for one in classes if one.reason), n, m, signature | {"fewest": fewest})


def _keep(evidence: Evidence, name: str, outcome: _Outcome) -> None:
    """Influences on the excess of each class; the parts of the reference are weighted as if they were one sample."""
    for one in outcome.shown:
        samples = at_rows(one.found.matched.influence_x, one.drawn, len(evidence.images("samples")))
        both = one.found.matched.influence_y - one.found.real.influence_y
        reference = joined(-one.found.real.influence_x, one.real, both, one.others, len(evidence.images("reference")))
        contributions = {"samples": samples, "reference": reference}
        evidence.keep_contributions(f"class_{name}_excess", contributions, one.of.name)  # type: ignore[arg-type]


def _measurement(
    evidence: Evidence,
    name: str,
    value: float,
    interval: Interval,
    outcome: _Outcome,
    note: str,
    *,
    unit: str = _UNIT,
    group: str | None = None,
    floor: float | None = None,
) -> Measurement:
    return evidence.measurement(
        name,
        value,
        interval,
        n=outcome.n,
        unit=unit,
        direction="higher" if name == "class_coverage" else "lower",
        against="reference",
        uses_extractor=True,
        group=group,
        floor=floor,
        note=note,
        **outcome.signature,
    )


def _worst(evidence: Evidence, name: str, outcome: _Outcome, repeats: str) -> list[Measurement]:
    excesses = [one.found.excess for one in outcome.compared]
    worst = worst_of([one.value for one in excesses], [one.interval for one in excesses])
    short = [one.found for one in outcome.compared]
    missing = worst_of([one.shortfall for one in short], [one.shortfall_interval for one in short])
    seen = sum(one.interval.low > 0 for one in excesses)
    lacking = sum(one.shortfall_interval.low > 0 for one in short)
    left = _left_out(outcome)
    sizes = f"{outcome.n} samples, and {outcome.n} real images, against the same {outcome.others} others of each class."
    return [
        _measurement(
            evidence,
            f"worst_class_{name}_excess",
            worst.value,
            worst.interval,
            outcome,
            f"{_about(outcome, worst)}; {seen} of {len(excesses)} classes are farther than real images. {sizes} The "
            f"largest of several noisy numbers reads too high, its interval does not.{left}{repeats}",
        ),
        _measurement(
            evidence,
            "worst_class_coverage_shortfall",
            missing.value,
            missing.interval,
            outcome,
            f"{_about(outcome, missing)}; {lacking} of {len(short)} classes cover less than real images do.{left}",
            unit="share",
        ),
    ]


def _left_out(outcome: _Outcome) -> str:
    """A sentence on the classes that the worst was not picked from; a class that is never drawn is among them."""
    if not outcome.left_out:
        return ""
    named = "; ".join(f"{one.name}, {one.reason}" for one in outcome.left_out[:_NAMED])
    more = f" and {len(outcome.left_out) - _NAMED} more (see the table)" if len(outcome.left_out) > _NAMED else ""
    return f" Left out: {named}{more}."


def _about(outcome: _Outcome, worst: WorstOf) -> str:
    return f"Worst: {outcome.compared[worst.index].of.name}"


def _of_class(evidence: Evidence, name: str, outcome: _Outcome, one: _Compared) -> list[Measurement]:
    found, group = one.found, one.of.name
    return [
        _measurement(
            evidence, f"class_{name}_excess", found.excess.value, found.excess.interval, outcome, "", group=group
        ),
        _measurement(
            evidence,
            f"class_{name}",
            found.matched.value,
            found.matched.interval,
            outcome,
            "",
            group=group,
            floor=found.real.value,
        ),
        _measurement(
            evidence,
            "class_coverage",
            found.coverage.value,
            found.coverage.interval,
            outcome,
            "",
            unit="share",
            group=group,
            floor=found.real_coverage.value,
        ),
    ]


def _table(name: str, outcome: _Outcome) -> Table:
    rows = [
        (
            one.of.label,
            len(one.of.samples),
            len(one.of.reference),
            one.found.excess.value,
            one.found.excess.interval.low,
            one.found.excess.interval.high,
            one.found.matched.value,
            one.found.real.value,
            one.found.coverage.value,
            one.found.real_coverage.value,
            "",
        )
        for one in outcome.shown
    ]
    absent = [
        (one.label, len(one.samples), len(one.reference), *([None] * 7), one.reason)
        for one in outcome.left_out[:_SHOWN]
    ]
    hidden = len(outcome.compared) - len(outcome.shown) + max(0, len(outcome.left_out) - _SHOWN)
    more = f" {hidden} more classes are not shown." if hidden else ""
    return Table(
        name=f"class_{name}",
        title="Quality by class, worst first",
        columns=(
            "class",
            "samples",
            "reference",
            "excess",
            "low",
            "high",
            "distance",
            "real – real",
            "coverage",
            "of real",
            "not applicable",
        ),
        rows=(*rows, *absent),
        note=f"{outcome.n} samples and {outcome.n} real images, each against the same {outcome.others} others, in "
        f"every class; the intervals hold for all classes together (Bonferroni).{more}",
    )


def _figure(name: str, outcome: _Outcome) -> Figure:
    drawn = outcome.compared[:_DRAWN]
    intervals = [one.found.excess.interval for one in drawn]
    return Figure(
        name=f"class_{name}_excess",
        kind="intervals",
        title="Excess of each class over real images, worst first",
        alt="One interval for each class. A class whose interval lies above zero is farther from real images of it "
        "than real images are from each other.",
        x_label="class" if len(drawn) == len(outcome.compared) else f"the {len(drawn)} worst classes",
        y_label=_UNIT,
        series=(
            Series(
                "excess",
                tuple(str(one.of.label) for one in drawn),
                tuple(one.found.excess.value for one in drawn),
                tuple(one.low for one in intervals),
                tuple(one.high for one in intervals),
            ),
        ),
        lines={"no difference": 0.0},
    )
