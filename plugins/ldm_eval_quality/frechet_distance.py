"""Fréchet distance of the samples to real images, with its floor, and to training and held-out images beside it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar, final

import numpy as np
from numpy.typing import NDArray

from ldm_eval.api import (
    Alarm,
    Direction,
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
    SignatureValue,
    Table,
)
from ldm_eval.stats.frechet import FrechetDifference, FrechetDistance, difference, frechet_distance
from ldm_eval.stats.resampling import disjoint_parts, subset
from ldm_eval_quality.chosen_rows import at_rows, joined
from ldm_eval_quality.feature_sets import MINIMUM, companions, refusal, repeats_note, usable_features
from ldm_eval_quality.naming import frechet_name

__all__ = ["FrechetDistanceCheck"]

Array = NDArray[np.float64]
Index = NDArray[np.int64]

_UNIT = "squared feature distance"
_FACTORY = "ldm_eval_quality.phantoms:gaussian"
_SIZES: Mapping[str, int | float | str] = {"check": "quality/frechet_distance", "dimension": 16, "n": 600, "m": 1200}


@dataclass(frozen=True, slots=True, eq=False)
class _Floor:
    """The distance between two disjoint parts of the reference, and of as many samples to one of these parts.

    ``chosen`` samples and the ``first`` part are each compared with the ``rest`` of the reference: row numbers.
    """

    real: FrechetDistance
    matched: FrechetDistance
    excess: FrechetDifference
    chosen: Index
    first: Index
    rest: Index


@dataclass(frozen=True, slots=True, eq=False)
class _Companion:
    """The distance to the images at ``rows`` of training or holdout."""

    distance: FrechetDistance
    rows: Index


@final
class FrechetDistanceCheck:
    """Squared Fréchet distance between Gaussians fitted to features of samples and of real images; lower is closer.

    All samples are compared with the whole reference, as the field does. What that number cannot say alone is said
    beside it: the floor (real against real), the excess over it at equal sizes, and the distances to training and to
    held-out images at equal sizes.
    """

    id: ClassVar[str] = "quality/frechet_distance"
    title: ClassVar[str] = "Fréchet distance"
    question: ClassVar[str] = "How far is the distribution of the samples from that of real images?"
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
        measurement="frechet_distance_excess",
        alarm=Alarm("low", ">", 0.0),
        catches=PhantomCase(
            _FACTORY, "every feature shifted by 0.2 standard deviations", {**_SIZES, "shift": 0.2}, 0.64
        ),
        leaves_alone=PhantomCase(_FACTORY, "another draw from the reference's distribution", _SIZES, 0.0),
    )

    def run(self, evidence: Evidence) -> Sequence[Finding] | NotApplicable | Invalid:
        """Measure the distances. NotApplicable for too few images, Invalid for a constant reference."""
        refused = refusal(evidence)
        if refused is not None:
            return refused
        name = frechet_name(evidence.extractor())
        samples, reference = usable_features(evidence, "samples"), usable_features(evidence, "reference")
        headline = frechet_distance(samples, reference)
        floor = _floor(evidence, samples, reference)
        companions_found = _to_companions(evidence, samples, headline)
        others = {role: found.distance for role, found in companions_found.items()}
        findings = _against_reference(evidence, name, headline, floor, repeats_note(reference))
        twins = [role for role in others if _same_set(evidence, role) and others[role].m == headline.m]
        for role, distance in others.items():
            if role not in twins:
                findings.append(_to_companion(evidence, f"{name}_to_{role}", role, distance))
        if len(others) == 2:
            findings.append(_gap(evidence, f"{name}_gap", others))
        shown = {role: distance for role, distance in others.items() if role not in twins}
        _keep(evidence, name, headline, floor, companions_found)
        rows: dict[str, FrechetDistance] = {f"samples – reference{_also(twins)}": headline}
        rows |= {f"samples – {role}": distance for role, distance in shown.items()}
        rows |= {"samples – part of reference": floor.matched, "real – real (floor)": floor.real}
        return [*findings, _table(name, rows), _figure(name, rows)]


def _floor(evidence: Evidence, samples: NDArray[np.float32], reference: NDArray[np.float32]) -> _Floor:
    """Part the reference in two; measure real and generated images against the second part at equal sizes."""
    size = min(len(samples), len(reference) // 2)
    order = disjoint_parts(len(reference), len(reference) // 2, evidence.rng("parts of the reference"))
    first = order.first[:size]
    rest = np.setdiff1d(np.arange(len(reference)), first)
    chosen = subset(len(samples), size, evidence.rng("samples for the floor"))
    real = frechet_distance(reference[first], reference[rest])
    matched = frechet_distance(samples[chosen], reference[rest])
    return _Floor(real, matched, difference(matched, real, shared="y"), chosen, first, rest)


def _to_companions(
    evidence: Evidence, samples: NDArray[np.float32], headline: FrechetDistance
) -> dict[Role, _Companion]:
    """Distances to training and holdout, each cut to the size of the smaller one so that their bias is the same."""
    roles = companions(evidence)
    size = min((len(evidence.images(role)) for role in roles), default=0)
    found: dict[Role, _Companion] = {}
    for role in roles:
        if _same_set(evidence, role) and size == headline.m:
            found[role] = _Companion(headline, np.arange(size, dtype=np.int64))
            continue
        features = usable_features(evidence, role)
        rows = subset(len(features), size, evidence.rng(f"subset of {role}"))
        found[role] = _Companion(frechet_distance(samples, features[rows]), rows)
    return found


def _keep(
    evidence: Evidence, name: str, headline: FrechetDistance, floor: _Floor, others: Mapping[Role, _Companion]
) -> None:
    """Keep what each image contributes to every distance; where rows serve both sides of a difference, their sum."""
    n, m = headline.n, headline.m
    chosen = at_rows(floor.matched.influence_x, floor.chosen, n)
    rest = floor.matched.influence_y - floor.real.influence_y
    parts = joined(rest, floor.rest, -floor.real.influence_x, floor.first, m)
    kept: dict[str, dict[Role, Array]] = {
        name: {"samples": headline.influence_x, "reference": headline.influence_y},
        f"{name}_matched": {"samples": chosen, "reference": at_rows(floor.matched.influence_y, floor.rest, m)},
        f"{name}_excess": {"samples": chosen, "reference": parts},
    }
    placed = {
        role: at_rows(one.distance.influence_y, one.rows, len(evidence.images(role))) for role, one in others.items()
    }
    for role, one in others.items():
        if one.distance is not headline:  # else it is the headline, and reported once
            kept[f"{name}_to_{role}"] = {"samples": one.distance.influence_x, role: placed[role]}
    if len(others) == 2:
        apart = others["holdout"].distance.influence_x - others["training"].distance.influence_x
        kept[f"{name}_gap"] = {"samples": apart, "holdout": placed["holdout"], "training": -placed["training"]}
    for called, contributions in kept.items():
        evidence.keep_contributions(called, contributions)


def _reported(
    evidence: Evidence,
    name: str,
    found: FrechetDistance | FrechetDifference,
    n: int,
    note: str,
    *,
    against: Role = "reference",
    direction: Direction = "lower",
    floor: float | None = None,
    **protocol: SignatureValue,
) -> Measurement:
    return evidence.measurement(
        name,
        found.value,
        found.interval,
        n=n,
        unit=_UNIT,
        direction=direction,
        against=against,
        uses_extractor=True,
        floor=floor,
        note=note,
        **protocol,  # type: ignore[arg-type]  # mypy holds ** against every keyword, group among them
    )


def _against_reference(
    evidence: Evidence, name: str, headline: FrechetDistance, floor: _Floor, warning: str
) -> list[Finding]:
    """The excess, the headline, and the distance at the sizes of the floor with the floor beside it.

    The headline takes all samples and the whole reference. It has no floor: no real sets of its sizes are left.
    """
    sizes = f"{floor.matched.n} samples and {floor.real.n} real images, each against the same {floor.real.m} other "
    return [
        _reported(
            evidence,
            f"{name}_excess",
            floor.excess,
            floor.matched.n,
            f"{sizes}real images; zero in expectation for a perfect model at every n.{warning}",
            real_n=floor.real.n,
            other_real_n=floor.real.m,
        ),
        _reported(evidence, name, headline, headline.n, _headline_note(headline, name)),
        _reported(
            evidence,
            f"{name}_matched",
            floor.matched,
            floor.matched.n,
            f"At the sizes of its floor: {floor.matched.n} samples, or real images, against {floor.real.m} others.",
            floor=floor.real.value,
            real_n=floor.matched.m,
        ),
    ]


def _to_companion(evidence: Evidence, name: str, role: Role, distance: FrechetDistance) -> Measurement:
    note = f"To {distance.m} images of the {role} set; compare with the other real sets at this size only."
    return _reported(evidence, name, distance, distance.n, note, against=role, direction="none", real_n=distance.m)


def _gap(evidence: Evidence, name: str, others: Mapping[Role, FrechetDistance]) -> Measurement:
    holdout = others["holdout"]
    return _reported(
        evidence,
        name,
        difference(holdout, others["training"], shared="x"),
        holdout.n,
        f"Distance to held-out minus distance to training images, {holdout.m} of each: above zero the "
        "samples are closer to what the model was trained on than to fresh data. Copies are; so are samples of a model "
        "that fits the training images' means and covariances and copies none.",
        against="holdout",
        real_n=holdout.m,
        training_digest=evidence.images("training").digest,
    )


def _same_set(evidence: Evidence, role: Role) -> bool:
    return evidence.images(role).digest == evidence.images("reference").digest


def _also(twins: Sequence[str]) -> str:
    return f" (= {', '.join(twins)})" if twins else ""


def _headline_note(distance: FrechetDistance, name: str) -> str:
    text = f"All samples against the whole reference. Its floor at equal sizes stands beside {name}_matched."
    if min(distance.n, distance.m) < 2 * distance.dimension:
        text += (
            f" With fewer than 2 x {distance.dimension} images the distance reads far above its limit at infinite n: "
            f"compare at equal n only, or read {name}_infinity and the kernel distance."
        )
    return text


def _table(name: str, rows: Mapping[str, FrechetDistance]) -> Table:
    return Table(
        name=f"{name}_parts",
        title="Fréchet distances and what they are made of",
        columns=("sets", "n", "m", "distance", "low", "high", "means", "covariances", "negative mass"),
        rows=tuple(
            (
                label,
                found.n,
                found.m,
                found.value,
                found.interval.low,
                found.interval.high,
                found.mean_term,
                found.covariance_term,
                found.negative_mass,
            )
            for label, found in rows.items()
        ),
        note="Intervals are for the expected distance at these n and m; only rows with equal sizes compare.",
    )


def _figure(name: str, rows: Mapping[str, FrechetDistance]) -> Figure:
    found = tuple(rows.values())
    return Figure(
        name=f"{name}_distances",
        kind="intervals",
        title="Fréchet distance of the samples to real sets",
        alt="One interval for each pair of sets, its sizes below it. Only marks of equal sizes compare: the last two.",
        x_label="sets compared",
        y_label=_UNIT,
        series=(
            Series(
                "distance",
                tuple(f"{label}, {one.n} and {one.m}" for label, one in rows.items()),
                tuple(one.value for one in found),
                tuple(one.interval.low for one in found),
                tuple(one.interval.high for one in found),
            ),
        ),
    )
