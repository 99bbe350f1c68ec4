"""Fréchet distance at infinite n: what is left of the distance when its bias in 1/n is taken off."""

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
from ldm_eval.stats.frechet_infinity import FrechetLimit, frechet_limit
from ldm_eval.stats.resampling import disjoint_parts
from ldm_eval_quality.feature_sets import MINIMUM, companions, refusal, repeats_note, usable_features
from ldm_eval_quality.naming import frechet_name

__all__ = ["FrechetInfinityCheck"]

_UNIT = "squared feature distance"
_FACTORY = "ldm_eval_quality.phantoms:gaussian"
_SIZES: Mapping[str, int | float | str] = {"check": "quality/frechet_infinity", "dimension": 16, "n": 600, "m": 1200}


@final
class FrechetInfinityCheck:
    """Squared Fréchet distance of the two distributions, not of the two finite sets; lower is closer.

    The finite distance is too large by about ``c1 / n + c2 / m``. Here that is measured by leaving out tenths of both
    sets and taken off, so numbers of different n compare. It is about unbiased from 2 x dimension images on; with
    fewer, what is left of the bias is upward and only the upper bound counts. A negative value is chance.
    """

    id: ClassVar[str] = "quality/frechet_infinity"
    title: ClassVar[str] = "Fréchet distance at infinite n"
    question: ClassVar[str] = "How far are the samples from real images once the bias of a finite number is taken off?"
    needs: ClassVar[Needs] = Needs(
        samples=MINIMUM,
        roles=("reference",),
        optional=("training", "holdout"),
        features=("samples", "reference"),
        each_extractor=True,
    )
    planning: ClassVar[Mapping[str, Planning]] = {
        "*": Planning("mean", "samples, and twice as many reference images", parameters={"curved": 1.0})
    }
    phantoms: ClassVar[Phantoms] = Phantoms(
        measurement="frechet_distance_infinity",
        alarm=Alarm("low", ">", 0.0),
        catches=PhantomCase(
            _FACTORY, "every feature shifted by 0.2 standard deviations", {**_SIZES, "shift": 0.2}, 0.64
        ),
        leaves_alone=PhantomCase(_FACTORY, "another draw from the reference's distribution", _SIZES, 0.0),
    )

    def run(self, evidence: Evidence) -> Sequence[Finding] | NotApplicable | Invalid:
        """Measure the limits. NotApplicable for too few images, Invalid for a constant reference."""
        refused = refusal(evidence)
        if refused is not None:
            return refused
        name = f"{frechet_name(evidence.extractor())}_infinity"
        found, floor = _limits(evidence), _floor(evidence)
        findings: list[Finding] = []
        for role, limit in found.items():
            called = name if role == "reference" else f"{name}_to_{role}"
            findings.append(_measurement(evidence, called, role, limit, floor))
            kept: dict[Role, np.ndarray[tuple[int], np.dtype[np.float64]]] = {}
            kept |= {"samples": limit.influence_x, role: limit.influence_y}
            evidence.keep_contributions(called, kept)
        return [*findings, _table(name, found, floor), _figure(name, found["reference"])]


def _limits(evidence: Evidence) -> dict[Role, FrechetLimit]:
    """To the reference, and to those of training and holdout that are other images."""
    samples, digest = usable_features(evidence, "samples"), evidence.images("reference").digest
    roles: list[Role] = ["reference"]
    roles += [role for role in companions(evidence) if evidence.images(role).digest != digest]
    return {
        role: frechet_limit(samples, usable_features(evidence, role), rng=evidence.rng(f"groups of {role}"))
        for role in roles
    }


def _floor(evidence: Evidence) -> FrechetLimit:
    """Real images against real images, two halves of the reference; zero in expectation."""
    reference = usable_features(evidence, "reference")
    parts = disjoint_parts(len(reference), len(reference) // 2, evidence.rng("parts of the reference"))
    return frechet_limit(reference[parts.first], reference[parts.second], rng=evidence.rng("groups of the floor"))


def _measurement(evidence: Evidence, name: str, role: Role, limit: FrechetLimit, floor: FrechetLimit) -> Measurement:
    note = (
        f"The distance of these {limit.n} and {limit.m} images is {limit.at_n:.4g}; halves of both alone would give "
        f"{limit.from_halves:.4g} at infinite n. "
    )
    if role == "reference":
        note += _about_floor(floor)
        note += repeats_note(usable_features(evidence, "reference"))
    if limit.interval.sided == "upper":
        note += (
            f" With fewer than 2 x {limit.dimension} images part of the bias is left and the value reads too high: "
            "read the upper bound, and the kernel distance beside it."
        )
    return evidence.measurement(
        name,
        limit.value,
        limit.interval,
        n=limit.n,
        unit=_UNIT,
        direction="lower" if role == "reference" else "none",
        against=role,
        uses_extractor=True,
        floor=floor.value if role == "reference" and floor.interval.sided == "two" else None,
        note=note.strip(),
        extrapolation=f"jackknife, {limit.groups} groups of both sets",
    )


def _about_floor(floor: FrechetLimit) -> str:
    """What real images reach; no floor where the halves keep more of the bias than the value beside them."""
    if floor.interval.sided == "two":
        return f"Floor: {floor.n} against {floor.m} disjoint real images, at infinite n too."
    return (
        f"No floor: {floor.n} against {floor.m} disjoint real images read {floor.value:.4g}, and so few keep more of "
        "the bias than the value does."
    )


def _table(name: str, found: Mapping[Role, FrechetLimit], floor: FrechetLimit) -> Table:
    rows = {f"samples – {role}": limit for role, limit in found.items()} | {"real – real (floor)": floor}
    return Table(
        name=f"{name}_parts",
        title="Fréchet distances at infinite n and at smaller n",
        columns=("sets", "n", "m", "infinite n", "low", "high", "at n", "at 0.9 n", "at n/2", "from halves"),
        rows=tuple(
            (
                label,
                one.n,
                one.m,
                one.value,
                None if one.interval.sided == "upper" else one.interval.low,
                one.interval.high,
                one.at_n,
                one.without_tenth,
                one.of_halves,
                one.from_halves,
            )
            for label, one in rows.items()
        ),
        note="At 0.9 n: mean of ten, each without another tenth. No lower bound is given with fewer than 2 x dimension "
        "images. Where the last column is far from infinite n, the bias does not fall as 1/n yet.",
    )


def _figure(name: str, limit: FrechetLimit) -> Figure:
    share = (1.0 - 1.0 / limit.groups, 1.0, 0.5)
    measured = dict(zip(share, (limit.without_tenth, limit.at_n, limit.of_halves), strict=True))
    x = tuple(1000.0 / (limit.n * part) for part in sorted(measured, reverse=True))
    y = tuple(measured[part] for part in sorted(measured, reverse=True))
    slope = (limit.without_tenth - limit.at_n) / (x[1] - x[0])
    line = (0.0, *x)
    return Figure(
        name=f"{name}_extrapolation",
        kind="lines",
        title="Fréchet distance against 1/n, and its continuation to infinite n",
        alt=f"Measured at n, 0.9 n and n/2, and the line through the first two, which meets 1/n = 0 at "
        f"{limit.value:.4g}. The further the last mark lies from the line, the less the bias falls as 1/n.",
        x_label="1000 / number of samples (reference cut by the same share)",
        y_label=_UNIT,
        series=(
            Series("measured", x, y),
            Series("line through n and 0.9 n", line, tuple(limit.value + slope * one for one in line)),
        ),
    )
