"""MIND: sliced Wasserstein distance of the samples to real images, its floor, and to training and held-out images."""

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
    Table,
)
from ldm_eval.errors import ConfigError
from ldm_eval.stats.resampling import disjoint_parts, subset
from ldm_eval.stats.sliced import SlicedDifference, SlicedDistance, difference, sliced_distance, unit_directions
from ldm_eval_quality.chosen_rows import at_rows, chosen, joined
from ldm_eval_quality.feature_sets import MINIMUM, companions, refusal, repeats_note, usable_features
from ldm_eval_quality.naming import sliced_name

__all__ = ["MindCheck"]

Array = NDArray[np.float64]
Index = NDArray[np.int64]

_UNIT = "squared feature distance x 3"
_DIRECTIONS = 1000
_FACTORY = "ldm_eval_quality.phantoms:gaussian"
_SIZES: Mapping[str, int | float | str] = {"check": "quality/mind", "dimension": 16, "n": 200, "m": 400}


@dataclass(frozen=True, slots=True, eq=False)
class _Compared:
    """A distance to real images and the rows of both sets behind it."""

    distance: SlicedDistance
    samples: Index
    real: Index


@dataclass(frozen=True, slots=True, eq=False)
class _Floor:
    """Real images against other real images, and as many samples against the same others."""

    matched: _Compared
    real: _Compared
    excess: SlicedDifference


@final
class MindCheck:
    """``3 d`` times the mean squared 2-Wasserstein distance along random directions of feature space; lower is closer.

    ``mind`` with the 2015 Inception features, ``sliced_distance`` in any other space. Setting: ``directions`` (1000).
    """

    id: ClassVar[str] = "quality/mind"
    title: ClassVar[str] = "Sliced Wasserstein distance (MIND)"
    question: ClassVar[str] = "How far are the samples from real images, in every direction of feature space?"
    settings: ClassVar[tuple[str, ...]] = ("directions",)
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
        measurement="sliced_distance_excess",
        alarm=Alarm("low", ">", 0.0),
        catches=PhantomCase(
            _FACTORY, "every feature shifted by 0.3 standard deviations", {**_SIZES, "shift": 0.3}, 4.32
        ),
        leaves_alone=PhantomCase(_FACTORY, "another draw from the reference's distribution", _SIZES, 0.0),
    )

    def run(self, evidence: Evidence) -> Sequence[Finding] | NotApplicable | Invalid:
        """Measure the distances. NotApplicable for too few images, Invalid for a constant reference."""
        count = evidence.parameters.get("directions", _DIRECTIONS)
        if isinstance(count, bool) or not isinstance(count, int) or not 10 <= count <= 100_000:
            raise ConfigError(
                f"{self.id}: directions = {count!r} was asked for; give a whole number from 10 to 100,000."
            )
        refused = refusal(evidence)
        if refused is not None:
            return refused
        name = sliced_name(evidence.extractor())
        width = usable_features(evidence, "samples").shape[1]
        directions = unit_directions(count, width, evidence.rng("directions"))
        headline = _compare(
            evidence, "reference", min(_size(evidence, "samples"), _size(evidence, "reference")), directions
        )
        floor = _floor(evidence, directions)
        others = _to_companions(evidence, headline, directions)
        _keep(evidence, name, headline, floor)
        findings = _against_reference(evidence, name, headline.distance, floor, count)
        shown = {role: one.distance for role, one in others.items() if one is not headline}
        findings += [_to_companion(evidence, f"{name}_to_{role}", role, one, count) for role, one in shown.items()]
        if len(others) == 2:
            findings.append(_gap(evidence, f"{name}_gap", others, count))
        also = ", ".join(role for role, one in others.items() if one is headline)
        rows = {f"samples – reference{f' (= {also})' if also else ''}": headline.distance}
        rows |= {f"samples – {role}": one for role, one in shown.items()}
        rows |= {"samples – part of reference": floor.matched.distance, "real – real (floor)": floor.real.distance}
        return [*findings, _table(name, rows, count), _figure(name, rows)]


def _size(evidence: Evidence, role: Role) -> int:
    return len(usable_features(evidence, role))


def _compare(evidence: Evidence, role: Role, size: int, directions: Array) -> _Compared:
    """``size`` samples and ``size`` images of the role; the same samples for every role at one size."""
    samples, real = usable_features(evidence, "samples"), usable_features(evidence, role)
    mine = subset(len(samples), size, evidence.rng("samples"))
    theirs = subset(len(real), size, evidence.rng(f"subset of {role}"))
    return _Compared(sliced_distance(chosen(samples, mine), chosen(real, theirs), directions), mine, theirs)


def _floor(evidence: Evidence, directions: Array) -> _Floor:
    """Part the reference in two; measure real and generated images against the second part at one size."""
    samples, reference = usable_features(evidence, "samples"), usable_features(evidence, "reference")
    parts = disjoint_parts(len(reference), len(samples), evidence.rng("parts of the reference"))
    mine = subset(len(samples), len(parts.first), evidence.rng("samples for the floor"))
    other = reference[parts.second]
    real = _Compared(sliced_distance(reference[parts.first], other, directions), parts.first, parts.second)
    matched = _Compared(sliced_distance(chosen(samples, mine), other, directions), mine, parts.second)
    return _Floor(matched, real, difference(matched.distance, real.distance, shared="y"))


def _to_companions(evidence: Evidence, headline: _Compared, directions: Array) -> Mapping[Role, _Compared]:
    """Distances to training and holdout at one size; the headline itself where the set is the reference at its size."""
    roles = companions(evidence)
    size = min([_size(evidence, "samples"), *(_size(evidence, role) for role in roles)])
    digest = evidence.images("reference").digest
    found: dict[Role, _Compared] = {}
    for role in roles:
        same = evidence.images(role).digest == digest and size == headline.distance.n
        found[role] = headline if same else _compare(evidence, role, size, directions)
    return found


def _keep(evidence: Evidence, name: str, headline: _Compared, floor: _Floor) -> None:
    """Contributions of images, for these directions. The excess uses two parts of the reference as one set of 2 s."""
    sample_count, real_count = len(evidence.images("samples")), len(evidence.images("reference"))
    distance = headline.distance
    evidence.keep_contributions(
        name,
        {
            "samples": at_rows(distance.influence_x, headline.samples, sample_count),
            "reference": at_rows(distance.influence_y, headline.real, real_count),
        },
    )
    matched, real = floor.matched.distance, floor.real.distance
    of_others = matched.influence_y - real.influence_y
    parts = joined(-real.influence_x, floor.real.samples, of_others, floor.real.real, real_count)
    evidence.keep_contributions(
        f"{name}_excess",
        {
            "samples": at_rows(matched.influence_x, floor.matched.samples, sample_count),
            "reference": parts,
        },
    )


def _reported(
    evidence: Evidence,
    name: str,
    found: SlicedDistance | SlicedDifference,
    n: int,
    note: str,
    directions: int,
    *,
    against: Role = "reference",
    direction: Direction = "lower",
    floor: float | None = None,
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
        directions=directions,
        real_n=n,
    )


def _against_reference(
    evidence: Evidence, name: str, headline: SlicedDistance, floor: _Floor, directions: int
) -> list[Finding]:
    """The excess, the headline, and the distance at the size of the floor with the floor beside it."""
    matched, real = floor.matched.distance, floor.real.distance
    warning = repeats_note(usable_features(evidence, "reference"))
    sizes = f"{matched.n} samples, and {matched.n} real images, each against the same {matched.n} other real images"
    return [
        _reported(
            evidence,
            f"{name}_excess",
            floor.excess,
            matched.n,
            f"{sizes}; zero in expectation for a perfect model at every n.{warning}",
            directions,
        ),
        _reported(
            evidence,
            name,
            headline,
            headline.n,
            f"{headline.n} samples and as many reference images along {directions} random directions. It falls with n: "
            f"compare equal n only. The floor at equal n stands beside {name}_matched.",
            directions,
        ),
        _reported(
            evidence,
            f"{name}_matched",
            matched,
            matched.n,
            f"At the size of its floor: {sizes}.",
            directions,
            floor=real.value,
        ),
    ]


def _to_companion(evidence: Evidence, name: str, role: Role, distance: SlicedDistance, directions: int) -> Measurement:
    note = f"To {distance.n} images of the {role} set; compare with the other real sets at this size only."
    return _reported(evidence, name, distance, distance.n, note, directions, against=role, direction="none")


def _gap(evidence: Evidence, name: str, others: Mapping[Role, _Compared], directions: int) -> Measurement:
    holdout, training = others["holdout"].distance, others["training"].distance
    note = (
        f"Distance to held-out minus distance to training images, {holdout.n} of each: above zero the samples are "
        "closer to what the model was trained on than to fresh data."
    )
    gap = difference(holdout, training, shared="x")
    return _reported(evidence, name, gap, holdout.n, note, directions, against="holdout")


def _table(name: str, rows: Mapping[str, SlicedDistance], directions: int) -> Table:
    return Table(
        name=f"{name}_parts",
        title="Sliced Wasserstein distances",
        columns=("sets", "n of each", "distance", "low", "high", "nearest direction", "farthest direction"),
        rows=tuple(
            (
                label,
                one.n,
                one.value,
                one.interval.low,
                one.interval.high,
                float(one.by_direction.min()),
                float(one.by_direction.max()),
            )
            for label, one in rows.items()
        ),
        note=(
            f"{directions} directions, the same in every row. Intervals are for the expected distance at this n; only "
            "rows of equal n compare."
        ),
    )


def _figure(name: str, rows: Mapping[str, SlicedDistance]) -> Figure:
    return Figure(
        name=f"{name}_distances",
        kind="intervals",
        title="Sliced Wasserstein distance of the samples to real sets",
        alt="One interval for each real set, and one for real images against real images, which is the floor.",
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
    )
