"""Kernel distance and coverage of each perceived group against real images of that group, at equal sizes."""

from __future__ import annotations

import hashlib
import math
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
    Role,
    Series,
    SignatureValue,
    Table,
)
from ldm_eval.errors import ConfigError, EvidenceError
from ldm_eval.stats.feature_sets import rows_not_finite
from ldm_eval.stats.group_gaps import WidestGap, level_of_each, widest_gap
from ldm_eval.stats.kernels import CUBIC, KernelDistance, kernel_distance
from ldm_eval.stats.manifolds import ManifoldShare, manifold_overlap
from ldm_eval.stats.resampling import subset
from ldm_eval_fairness.purity import Group, judged_groups

__all__ = ["GroupQuality"]

_FACTORY = "ldm_eval_fairness.group_phantoms:drawn_groups"
_FEWEST = 30
"""Fewest samples of a group, and half the fewest real images."""
_SMALLEST = 10
_K = 5
_UNIT = "squared maximum mean discrepancy"


@final
@dataclass(frozen=True, slots=True, eq=False)
class _Compared:
    """One group: ``drawn`` rows of the samples and ``real`` rows of the reference, each against ``others`` of it."""

    of: Group
    drawn: NDArray[np.int64]
    others: NDArray[np.int64]
    distance: KernelDistance
    floor: KernelDistance
    coverage: ManifoldShare
    real_coverage: ManifoldShare

    @property
    def shortfall(self) -> float:
        return self.real_coverage.value - self.coverage.value

    @property
    def shortfall_interval(self) -> Interval:
        """Square-and-add of both; they share the balls, which is not used: a little too wide."""
        above, below = self.real_coverage, self.coverage
        down = math.hypot(above.value - above.interval.low, below.interval.high - below.value)
        up = math.hypot(above.interval.high - above.value, below.value - below.interval.low)
        low, high = max(-1.0, self.shortfall - down), min(1.0, self.shortfall + up)
        return Interval(low, high, above.interval.level, above.interval.estimator)


@final
@dataclass(frozen=True, slots=True, eq=False)
class _Outcome:
    """All groups compared, those left out with the reason, and what every measurement says of itself."""

    compared: tuple[_Compared, ...]
    left_out: tuple[Group, ...]
    labels: AttributeLabels
    n: int
    others: int
    signature: Mapping[str, SignatureValue]

    @property
    def sizes(self) -> str:
        return f"{self.n} samples, and {self.n} real images, against the same {self.others} others of each group"


@final
class GroupQuality:
    """Each perceived group of samples against real images of it; the headline is the gap between two groups.

    Setting: ``fewest`` (30) samples of a group, and twice as many real images of it; raising it drops small groups and
    gives the others a larger n.
    """

    id: ClassVar[str] = "fairness/group_quality"
    title: ClassVar[str] = "Quality by perceived group"
    question: ClassVar[str] = "Are some groups drawn less faithfully than others?"
    settings: ClassVar[tuple[str, ...]] = ("fewest",)
    planning: ClassVar[Mapping[str, Planning]] = {
        "*": Planning("mean", "samples, and twice as many reference images", parameters={"curved": 1.0})
    }
    needs: ClassVar[Needs] = Needs(
        samples=2 * _FEWEST,
        roles=("reference",),
        features=("samples", "reference"),
        attributes=("samples", "reference"),
    )
    phantoms: ClassVar[Phantoms] = Phantoms(
        measurement="worst_group_kernel_distance_gap",
        alarm=Alarm("low", ">", 0.0),
        catches=PhantomCase(
            _FACTORY,
            "every feature of one of two groups is off by half a standard deviation, seen through a classifier that is "
            "wrong on 4 % of the images",
            {"shift_a": 0.0, "shift_b": 0.5},
            truth=2.8929687499999996,
        ),
        leaves_alone=PhantomCase(
            _FACTORY,
            "both groups are off by a quarter of a standard deviation",
            {"shift_a": 0.25, "shift_b": 0.25},
            truth=0.0,
        ),
    )

    def run(self, evidence: Evidence) -> Sequence[Finding] | NotApplicable | Invalid:
        """Compare group by group. NotApplicable where fewer than two groups are large enough."""
        fewest = evidence.parameters.get("fewest", _FEWEST)
        if isinstance(fewest, bool) or not isinstance(fewest, int) or fewest < _SMALLEST:
            raise ConfigError(f"{self.id}: fewest = {fewest!r} was asked for; give a whole number from {_SMALLEST} on.")
        groups = judged_groups(evidence, fewest)
        if not isinstance(groups, tuple):
            return groups
        outcome = _compare(evidence, groups, fewest)
        return [*_gaps(evidence, outcome), *_each(evidence, outcome), _table(outcome), _figure(outcome)]


def _compare(evidence: Evidence, groups: tuple[Group, ...], fewest: int) -> _Outcome:
    usable = [one for one in groups if not one.reason]
    n = min(min(len(one.samples), len(one.reference) // 2) for one in usable)
    m = min(len(one.reference) for one in usable) - n
    samples, reference = _usable(evidence, "samples"), _usable(evidence, "reference")
    own = level_of_each(len(usable))
    compared = []
    for one in usable:
        drawn = one.samples[subset(len(one.samples), n, evidence.rng(f"samples of {one.name}"))]
        order = one.reference[evidence.rng(f"reference of {one.name}").permutation(len(one.reference))]
        real, others = order[:n], order[n : n + m]
        compared.append(
            _Compared(
                one,
                drawn,
                others,
                kernel_distance(samples[drawn], reference[others], level=own),
                kernel_distance(reference[real], reference[others], level=own),
                manifold_overlap(reference[others], samples[drawn], k=_K, level=own).coverage,
                manifold_overlap(reference[others], reference[real], k=_K, level=own).coverage,
            )
        )
    labels = evidence.attributes("samples")
    confusion = labels.confusion
    signature: dict[str, SignatureValue] = {
        "kernel": CUBIC.name,
        "k": _K,
        "real_n": n,
        "other_real_n": m,
        "fewest": fewest,
        "groups": ", ".join(one.name for one in usable),
        "attribute": labels.attribute,
        "classifier": labels.classifier,
        "classifier_errors": hashlib.sha256(repr((confusion.classes, confusion.counts)).encode()).hexdigest()[:16],
    }
    return _Outcome(tuple(compared), tuple(one for one in groups if one.reason), labels, n, m, signature)


def _usable(evidence: Evidence, role: Role) -> NDArray[np.float32]:
    features = evidence.features(role)
    bad = rows_not_finite(features)
    if len(bad):
        raise EvidenceError(
            f"{len(bad)} of {len(features)} feature vectors of the {role} set are not finite or too large (first: "
            f"image {bad[0]}); look at these images and at the extractor '{evidence.extractor().name}'."
        )
    return features


def _gaps(evidence: Evidence, outcome: _Outcome) -> list[Measurement]:
    near = widest_gap(
        [one.distance.value for one in outcome.compared], [one.distance.interval for one in outcome.compared]
    )
    cover = widest_gap(
        [one.shortfall for one in outcome.compared], [one.shortfall_interval for one in outcome.compared]
    )
    left = "; ".join(f"'{one.name}', {one.reason}" for one in outcome.left_out)
    left = f" Left out: {left}." if left else ""
    return [
        _measurement(
            evidence,
            "worst_group_kernel_distance_gap",
            near.value,
            near.interval,
            outcome,
            f"{_about(outcome, near, 'is drawn farther from real images')}. {outcome.sizes}.{left}",
        ),
        _measurement(
            evidence,
            "worst_group_coverage_gap",
            cover.value,
            cover.interval,
            outcome,
            f"{_about(outcome, cover, 'falls farther short of the coverage that real images reach')}.{left}",
            unit="share",
        ),
    ]


def _about(outcome: _Outcome, gap: WidestGap, what: str) -> str:
    names = [one.of.name for one in outcome.compared]
    seen = "" if gap.interval.low > 0 else " by the point estimates alone (the interval holds no gap)"
    return f"'{names[gap.highest]}' {what} of it than '{names[gap.lowest]}'{seen}"


def _each(evidence: Evidence, outcome: _Outcome) -> list[Measurement]:
    found = []
    for one in outcome.compared:
        name, floor = one.of.name, one.floor.value
        found.append(
            _measurement(
                evidence,
                "group_kernel_distance",
                one.distance.value,
                one.distance.interval,
                outcome,
                "Floor: as many real images of the group; zero in expectation.",
                group=name,
                floor=floor,
            )
        )
        found.append(
            _measurement(
                evidence,
                "group_coverage",
                one.coverage.value,
                one.coverage.interval,
                outcome,
                "Floor: what as many real images of the group reach.",
                unit="share",
                group=name,
                floor=one.real_coverage.value,
            )
        )
        contributions = {
            "samples": _at(one.distance.influence_x, one.drawn, len(evidence.images("samples"))),
            "reference": _at(one.distance.influence_y, one.others, len(evidence.images("reference"))),
        }
        evidence.keep_contributions("group_kernel_distance", contributions, name)  # type: ignore[arg-type]
    return found


def _at(values: NDArray[np.float64], rows: NDArray[np.int64], total: int) -> NDArray[np.float64]:
    placed = np.full(total, np.nan)
    placed[rows] = values
    return placed


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
        direction="higher" if name == "group_coverage" else "lower",
        against="reference",
        uses_extractor=True,
        group=group,
        floor=floor,
        note=note,
        **outcome.signature,
    )


def _table(outcome: _Outcome) -> Table:
    rows: list[tuple[str | int | float | None, ...]] = [
        (
            one.of.name,
            len(one.of.samples),
            len(one.of.reference),
            one.of.purity_samples,
            one.of.purity_reference,
            one.distance.value,
            one.distance.interval.low,
            one.distance.interval.high,
            one.floor.value,
            one.coverage.value,
            one.real_coverage.value,
            "",
        )
        for one in outcome.compared
    ]
    rows += [
        (
            one.name,
            len(one.samples),
            len(one.reference),
            one.purity_samples,
            one.purity_reference,
            *([None] * 6),
            one.reason,
        )
        for one in outcome.left_out
    ]
    columns = (
        outcome.labels.attribute,
        "samples",
        "reference",
        "truly so, samples",
        "truly so, reference",
        "distance",
        "low",
        "high",
        "real – real",
        "coverage",
        "of real",
        "left out",
    )
    level = level_of_each(len(outcome.compared))
    note = (
        f"{outcome.sizes}; intervals at {level:.2%} each, so that all gaps hold together. Groups are as the classifier "
        f"'{outcome.labels.classifier}' perceives them, in samples and real images alike. {outcome.labels.limits}"
    )
    return Table("group_quality", "Quality by perceived group", columns, tuple(rows), note)


def _figure(outcome: _Outcome) -> Figure:
    names = tuple(one.of.name for one in outcome.compared)
    return Figure(
        name="group_kernel_distance",
        kind="intervals",
        title=f"Kernel distance of each {outcome.labels.attribute} to real images of it",
        alt="One interval for each perceived group, beside the distance of real images of it to each other. A group "
        "whose interval lies above that of another is drawn less faithfully.",
        x_label=outcome.labels.attribute,
        y_label=_UNIT,
        series=(
            Series(
                "samples",
                names,
                tuple(one.distance.value for one in outcome.compared),
                tuple(one.distance.interval.low for one in outcome.compared),
                tuple(one.distance.interval.high for one in outcome.compared),
            ),
            Series("real – real (floor)", names, tuple(one.floor.value for one in outcome.compared)),
        ),
        lines={"no difference": 0.0},
    )
