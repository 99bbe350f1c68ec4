"""Kernel distance (KID) of the samples to real images: unbiased at every n."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import ClassVar, final

import numpy as np

from ldm_eval.api import (
    Alarm,
    Evidence,
    Figure,
    Finding,
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
from ldm_eval.stats.kernels import CUBIC, KernelDistance, kernel_distance
from ldm_eval.stats.resampling import disjoint_parts
from ldm_eval_quality.feature_sets import MINIMUM, companions, refusal, repeats_note, usable_features
from ldm_eval_quality.naming import kernel_name
from ldm_eval_quality.permutations import NOTE, p_value_of_no_difference

__all__ = ["KernelDistanceCheck"]

_UNIT = "squared maximum mean discrepancy"
_FACTORY = "ldm_eval_quality.phantoms:gaussian"
_SIZES: Mapping[str, int | float | str] = {"check": "quality/kernel_distance", "dimension": 16, "n": 400, "m": 400}


@final
class KernelDistanceCheck:
    """Unbiased MMD^2 with the kernel ``(x.y/d + 1)^3`` over all pairs; lower is closer, negative values are chance."""

    id: ClassVar[str] = "quality/kernel_distance"
    title: ClassVar[str] = "Kernel distance"
    question: ClassVar[str] = "How far are the samples from real images, without the small-sample bias of FID?"
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
        measurement="kernel_distance",
        alarm=Alarm("low", ">", 0.0),
        catches=PhantomCase(
            _FACTORY, "every feature shifted by 0.3 standard deviations", {**_SIZES, "shift": 0.3}, 0.317050875
        ),
        leaves_alone=PhantomCase(_FACTORY, "another draw from the reference's distribution", _SIZES, 0.0),
    )

    def run(self, evidence: Evidence) -> Sequence[Finding] | NotApplicable | Invalid:
        """Measure the distances. NotApplicable for too few images, Invalid for a constant reference."""
        refused = refusal(evidence)
        if refused is not None:
            return refused
        name = kernel_name(evidence.extractor())
        samples, reference = usable_features(evidence, "samples"), usable_features(evidence, "reference")
        size = min(len(samples), len(reference) // 2)
        first = disjoint_parts(len(reference), size, evidence.rng("parts of the reference")).first
        floor = kernel_distance(reference[first], np.delete(reference, first, axis=0))
        found: dict[Role, KernelDistance] = {"reference": kernel_distance(samples, reference)}
        digest = evidence.images("reference").digest
        for role in companions(evidence):
            if evidence.images(role).digest != digest:
                found[role] = kernel_distance(samples, usable_features(evidence, role))
        p_value = p_value_of_no_difference(evidence, samples, reference)
        findings: list[Finding] = []
        for role, distance in found.items():
            called = name if role == "reference" else f"{name}_to_{role}"
            findings.append(_measurement(evidence, called, role, distance, floor, p_value))
            evidence.keep_contributions(called, {"samples": distance.influence_x, role: distance.influence_y})
        return [*findings, _table(name, found, floor, p_value), _figure(name, found, floor)]


def _measurement(
    evidence: Evidence, name: str, role: Role, distance: KernelDistance, floor: KernelDistance, p_value: float
) -> Measurement:
    note = ""
    if role == "reference":
        note = (
            f"Permutation p-value of no difference: {p_value:.3g}. "
            f"Floor: {floor.n} against {floor.m} disjoint real images (zero in expectation)."
            f"{repeats_note(usable_features(evidence, 'reference'))}"
        )
    return evidence.measurement(
        name,
        distance.value,
        distance.interval,
        n=distance.n,
        unit=_UNIT,
        direction="lower" if role == "reference" else "none",
        against=role,
        uses_extractor=True,
        floor=floor.value,
        note=note,
        kernel=CUBIC.name,
    )


def _table(name: str, found: Mapping[Role, KernelDistance], floor: KernelDistance, p_value: float) -> Table:
    rows: dict[str, tuple[KernelDistance, float | None]] = {
        f"samples – {role}": (distance, p_value if role == "reference" else None) for role, distance in found.items()
    }
    rows["real – real (floor)"] = (floor, None)
    return Table(
        name=f"{name}_parts",
        title="Kernel distances",
        columns=("sets", "n", "m", "distance", "low", "high", "permutation p"),
        rows=tuple(
            (label, one.n, one.m, one.value, one.interval.low, one.interval.high, p) for label, (one, p) in rows.items()
        ),
        note=(f"{NOTE} The estimate is unbiased, so rows of different sizes compare; it may be negative."),
    )


def _figure(name: str, found: Mapping[Role, KernelDistance], floor: KernelDistance) -> Figure:
    rows = {f"samples – {role}": distance for role, distance in found.items()} | {"real – real (floor)": floor}
    return Figure(
        name=f"{name}_distances",
        kind="intervals",
        title="Kernel distance of the samples to real sets",
        alt="One interval for each real set, and one for real images against real images, which should hold zero.",
        x_label="sets compared",
        y_label=_UNIT,
        series=(
            Series(
                "distance",
                tuple(rows),
                tuple(one.value for one in rows.values()),
                tuple(one.interval.low for one in rows.values()),
                tuple(one.interval.high for one in rows.values()),
            ),
        ),
        lines={"no difference": 0.0},
    )
