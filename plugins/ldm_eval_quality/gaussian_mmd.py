"""Gaussian-kernel distance (CMMD) of the samples to real images, on features of length one."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar, final

import numpy as np

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
    Role,
    Series,
    Table,
)
from ldm_eval.stats.kernels import (
    GaussianKernel,
    KernelDistance,
    kernel_distance,
    unit_rows,
)
from ldm_eval.stats.resampling import disjoint_parts
from ldm_eval_quality.feature_sets import MINIMUM, companions, refusal, repeats_note, usable_features
from ldm_eval_quality.naming import mean_discrepancy_name
from ldm_eval_quality.permutations import NOTE, p_value_of_no_difference

__all__ = ["GaussianMmdCheck"]

_KERNEL = GaussianKernel(10.0)
_SCALE = 1000.0
_UNIT = "1000 x squared maximum mean discrepancy"
_FACTORY = "ldm_eval_quality.direction_phantom:directions"


@dataclass(frozen=True, slots=True, eq=False)
class _Distances:
    """To each real set, and of the reference to itself: ``floor``; ``p_value`` of no difference from the reference."""

    found: Mapping[Role, KernelDistance]
    floor: KernelDistance
    p_value: float


@final
class GaussianMmdCheck:
    """1000 MMD^2 with a Gaussian kernel of bandwidth 10 on features of length one; lower is closer.

    The published number (``cmmd``, ``mmd``) counts each image's kernel with itself, which adds a little at every n;
    the unbiased one beside it does not, compares across n, and is what a gate should read.
    """

    id: ClassVar[str] = "quality/gaussian_mmd"
    title: ClassVar[str] = "Gaussian-kernel distance"
    question: ClassVar[str] = "How far are the samples from real images, by the directions of their features?"
    needs: ClassVar[Needs] = Needs(
        samples=MINIMUM,
        roles=("reference",),
        optional=("training", "holdout"),
        features=("samples", "reference"),
        each_extractor=True,
    )
    planning: ClassVar[Mapping[str, Planning]] = {
        "*": Planning("mean", "samples, and as many reference images", parameters={"curved": 1.0})
    }
    phantoms: ClassVar[Phantoms] = Phantoms(
        measurement="mmd_unbiased",
        alarm=Alarm("low", ">", 0.0),
        catches=PhantomCase(_FACTORY, "6 of 8 directions are drawn", {"drawn": 6}, 0.41459026),
        leaves_alone=PhantomCase(_FACTORY, "all 8 directions are drawn", {"drawn": 8}, 0.0),
    )

    def run(self, evidence: Evidence) -> Sequence[Finding] | NotApplicable | Invalid:
        """Measure. NotApplicable for too few images, Invalid for a constant reference or features of no direction."""
        refused = refusal(evidence) or _without_direction(evidence)
        if refused is not None:
            return refused
        name = mean_discrepancy_name(evidence.extractor())
        distances = _distances(evidence)
        findings: list[Finding] = []
        for role, distance in distances.found.items():
            called = f"{name}_unbiased" if role == "reference" else f"{name}_unbiased_to_{role}"
            findings.append(_unbiased(evidence, called, role, distances))
            _keep(evidence, called, role, distance)
        findings.insert(1, _published(evidence, name, distances.found["reference"]))
        _keep(evidence, name, "reference", distances.found["reference"])
        return [*findings, _table(name, distances), _figure(name, distances)]


def _roles(evidence: Evidence) -> tuple[Role, ...]:
    """The reference, and those of training and holdout that are other images."""
    digest = evidence.images("reference").digest
    return ("reference", *(role for role in companions(evidence) if evidence.images(role).digest != digest))


def _without_direction(evidence: Evidence) -> Invalid | None:
    for role in ("samples", *_roles(evidence)):
        features = usable_features(evidence, role)
        if zeros := int(np.count_nonzero(~features.any(axis=1))):
            return Invalid(
                f"{zeros} of {len(features)} feature vectors of the {role} set are all zeros and have no direction; "
                "look at these images and at the extractor."
            )
    return None


def _distances(evidence: Evidence) -> _Distances:
    samples, reference = (unit_rows(usable_features(evidence, role)) for role in ("samples", "reference"))
    found: dict[Role, KernelDistance] = {}
    for role in _roles(evidence):
        real = reference if role == "reference" else unit_rows(usable_features(evidence, role))
        found[role] = kernel_distance(samples, real, kernel=_KERNEL)
    size = min(len(samples), len(reference) // 2)
    first = disjoint_parts(len(reference), size, evidence.rng("parts of the reference")).first
    floor = kernel_distance(reference[first], np.delete(reference, first, axis=0), kernel=_KERNEL)
    return _Distances(found, floor, p_value_of_no_difference(evidence, samples, reference, _KERNEL))


def _scaled(value: float, distance: KernelDistance, smallest: float | None = None) -> Interval:
    """The interval about ``value``, 1000 times as wide as that of the distance."""
    reach = _SCALE * (distance.interval.high - distance.value)
    low = _SCALE * value - reach
    high = _SCALE * value + reach
    estimator = distance.interval.estimator
    if smallest is None:
        return Interval(low, high, distance.interval.level, estimator)
    return Interval(
        max(low, smallest), high, distance.interval.level, f"{estimator}; covers the expected value at these set sizes"
    )


def _published(evidence: Evidence, name: str, distance: KernelDistance) -> Measurement:
    excess = _SCALE * (distance.biased - distance.value)
    return evidence.measurement(
        name,
        _SCALE * distance.biased,
        _scaled(distance.biased, distance, smallest=0.0),
        n=distance.n,
        unit=_UNIT,
        direction="lower",
        against="reference",
        uses_extractor=True,
        note=f"As published: each image's kernel with itself is counted, which adds {excess:.3g} at these set sizes; "
        f"compare at equal n only, or read {name}_unbiased.",
        kernel=_KERNEL.name,
        estimate="V-statistic",
    )


def _unbiased(evidence: Evidence, name: str, role: Role, distances: _Distances) -> Measurement:
    distance, floor, note = distances.found[role], distances.floor, ""
    if role == "reference":
        note = (
            f"Permutation p-value of no difference: {distances.p_value:.3g}. "
            f"Floor: {floor.n} against {floor.m} disjoint real images (zero in expectation)."
            f"{repeats_note(usable_features(evidence, 'reference'))}"
        )
    return evidence.measurement(
        name,
        _SCALE * distance.value,
        _scaled(distance.value, distance),
        n=distance.n,
        unit=_UNIT,
        direction="lower" if role == "reference" else "none",
        against=role,
        uses_extractor=True,
        floor=_SCALE * floor.value,
        note=note,
        kernel=_KERNEL.name,
        estimate="U-statistic",
    )


def _keep(evidence: Evidence, name: str, role: Role, distance: KernelDistance) -> None:
    evidence.keep_contributions(name, {"samples": _SCALE * distance.influence_x, role: _SCALE * distance.influence_y})


def _table(name: str, distances: _Distances) -> Table:
    rows: dict[str, tuple[KernelDistance, float | None]] = {
        f"samples – {role}": (distance, distances.p_value if role == "reference" else None)
        for role, distance in distances.found.items()
    }
    rows["real – real (floor)"] = (distances.floor, None)
    return Table(
        name=f"{name}_parts",
        title="Gaussian-kernel distances",
        columns=("sets", "n", "m", "unbiased", "low", "high", "as published", "permutation p"),
        rows=tuple(
            (label, one.n, one.m, _SCALE * one.value, interval.low, interval.high, _SCALE * one.biased, p)
            for label, (one, p) in rows.items()
            for interval in (_scaled(one.value, one),)
        ),
        note=(f"{NOTE} Unbiased values of different sizes compare, and may be negative; published ones do not."),
    )


def _figure(name: str, distances: _Distances) -> Figure:
    rows = {f"samples – {role}": distance for role, distance in distances.found.items()}
    rows["real – real (floor)"] = distances.floor
    intervals = [_scaled(one.value, one) for one in rows.values()]
    return Figure(
        name=f"{name}_distances",
        kind="intervals",
        title="Gaussian-kernel distance of the samples to real sets, unbiased",
        alt="One interval for each real set, and one for real images against real images, which should hold zero.",
        x_label="sets compared",
        y_label=_UNIT,
        series=(
            Series(
                "distance",
                tuple(rows),
                tuple(_SCALE * one.value for one in rows.values()),
                tuple(one.low for one in intervals),
                tuple(one.high for one in intervals),
            ),
        ),
        lines={"no difference": 0.0},
    )
