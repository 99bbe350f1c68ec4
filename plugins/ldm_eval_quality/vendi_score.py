"""Vendi score of the samples, and over that of as many real images: the effective number of different items."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar, final

import numpy as np
from numpy.typing import NDArray

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
from ldm_eval.errors import ConfigError
from ldm_eval.stats.resampling import disjoint_parts, subset
from ldm_eval.stats.vendi import ORDERS, VendiRatio, VendiScore, vendi_ratio, vendi_scores
from ldm_eval_quality.chosen_rows import at_rows, chosen
from ldm_eval_quality.feature_sets import MINIMUM, companions, refusal, repeats_note, usable_features

__all__ = ["VendiScoreCheck"]

_FACTORY = "ldm_eval_quality.diversity_phantoms:variety"
_CASE: Mapping[str, int | float | str] = {"check": "quality/vendi_score"}
_NAMES = {0.5: "0.5", 1.0: "1", 2.0: "2", math.inf: "infinity"}
_SCORE, _RATIO = "vendi_score", "vendi_score_ratio"

Scores = Mapping[float, VendiScore]


@dataclass(frozen=True, slots=True, eq=False)
class _Compared:
    """Scores of samples and reference at one n, of the rows they were taken of, and of two parts of the reference."""

    samples: Scores
    reference: Scores
    sample_rows: NDArray[np.int64]
    reference_rows: NDArray[np.int64]
    parts: tuple[Scores, Scores]

    def ratio(self, order: float) -> VendiRatio:
        return vendi_ratio(self.samples[order], self.reference[order])

    def floor(self, order: float) -> VendiRatio:
        return vendi_ratio(self.parts[0][order], self.parts[1][order])


@final
class VendiScoreCheck:
    """Effective number of different images by cosine similarity of features; more is more varied, at equal n only.

    Setting: ``order`` (1, as published first; 0.5, 2 or "inf"). It enters the signature; the table shows all four.
    """

    id: ClassVar[str] = "quality/vendi_score"
    title: ClassVar[str] = "Vendi score"
    question: ClassVar[str] = "How many different images do the samples amount to, against as many real ones?"
    settings: ClassVar[tuple[str, ...]] = ("order",)
    needs: ClassVar[Needs] = Needs(
        samples=MINIMUM,
        roles=("reference",),
        optional=("training", "holdout"),
        features=("samples", "reference"),
        each_extractor=True,
    )
    planning: ClassVar[Mapping[str, Planning]] = {
        _RATIO: Planning("mean", "samples, and as many reference images", perfect=1.0),
        "*": Planning("mean", "samples"),
    }
    phantoms: ClassVar[Phantoms] = Phantoms(
        measurement=_RATIO,
        alarm=Alarm("high", "<", 1.0),
        catches=PhantomCase(_FACTORY, "4 of 8 modes are drawn", {**_CASE, "modes_drawn": 4}),
        leaves_alone=PhantomCase(_FACTORY, "another draw from the reference's distribution", _CASE, 1.0),
    )

    def run(self, evidence: Evidence) -> Sequence[Finding] | NotApplicable | Invalid:
        """Measure the scores. NotApplicable for too few images, Invalid for a constant reference or zero features."""
        order = _order(evidence)
        refused = refusal(evidence) or _zero_rows(evidence)
        if refused is not None:
            return refused
        compared = _compare(evidence)
        others = _of_companions(evidence, compared)
        findings: list[Finding] = [_ratio(evidence, order, compared), _score(evidence, order, compared)]
        return [*findings, _table(compared, others), _figure(compared)]


def _order(evidence: Evidence) -> float:
    asked = evidence.parameters.get("order", 1)
    named = {"0.5": 0.5, "1": 1.0, "2": 2.0, "inf": math.inf, "infinity": math.inf}
    if not isinstance(asked, bool):
        if asked in ORDERS:
            return float(asked)
        if str(asked) in named:
            return named[str(asked)]
    raise ConfigError(f'{evidence.check}: order = {asked!r} was asked for; give 0.5, 1, 2 or "inf".')


def _zero_rows(evidence: Evidence) -> Invalid | None:
    for role in ("samples", "reference", *companions(evidence)):
        features = usable_features(evidence, role)
        empty = np.flatnonzero(~features.any(axis=1))
        if len(empty):
            return Invalid(
                f"{len(empty)} of {len(features)} feature vectors of the {role} set are zero (first: image {empty[0]}) "
                "and have no cosine with another; look at these images and at the extractor "
                f"'{evidence.extractor().name}'."
            )
    return None


def _compare(evidence: Evidence) -> _Compared:
    """Equally many samples and reference images, and the reference in two parts for the floor."""
    samples, reference = usable_features(evidence, "samples"), usable_features(evidence, "reference")
    size = min(len(samples), len(reference))
    mine = subset(len(samples), size, evidence.rng("samples"))
    theirs = subset(len(reference), size, evidence.rng("reference"))
    parts = disjoint_parts(len(reference), size, evidence.rng("parts of the reference"))
    return _Compared(
        samples=vendi_scores(chosen(samples, mine), ORDERS),
        reference=vendi_scores(chosen(reference, theirs), ORDERS),
        sample_rows=mine,
        reference_rows=theirs,
        parts=(vendi_scores(reference[parts.first], ORDERS), vendi_scores(reference[parts.second], ORDERS)),
    )


def _of_companions(evidence: Evidence, compared: _Compared) -> Mapping[Role, Scores]:
    """Training and holdout at the same n, where they are there with so many and are not the reference."""
    size, digest = compared.samples[1.0].n, evidence.images("reference").digest
    found: dict[Role, Scores] = {}
    for role in companions(evidence, size):
        if evidence.images(role).digest != digest:
            features = usable_features(evidence, role)
            rows = subset(len(features), size, evidence.rng(f"subset of {role}"))
            found[role] = vendi_scores(chosen(features, rows), ORDERS)
    return found


def _ratio(evidence: Evidence, order: float, compared: _Compared) -> Measurement:
    ratio, floor = compared.ratio(order), compared.floor(order)
    size, part = compared.samples[order].n, compared.parts[0][order].n
    evidence.keep_contributions(
        _RATIO,
        {
            "samples": at_rows(
                ratio.value * compared.samples[order].influence, compared.sample_rows, len(evidence.images("samples"))
            ),
            "reference": at_rows(
                -ratio.value * compared.reference[order].influence,
                compared.reference_rows,
                len(evidence.images("reference")),
            ),
        },
    )
    note = (
        f"Order {_NAMES[order]}: {size} samples over {size} real images; 1 is as varied as real images, noise may be "
        f"more. Floor: {part} real images over {part} others.{repeats_note(usable_features(evidence, 'reference'))}"
    )
    return evidence.measurement(
        _RATIO,
        ratio.value,
        ratio.interval,
        n=size,
        unit="times that of real images",
        direction="target",
        against="reference",
        uses_extractor=True,
        floor=floor.value,
        note=note,
        order=_NAMES[order],
        real_n=size,
    )


def _score(evidence: Evidence, order: float, compared: _Compared) -> Measurement:
    score = compared.samples[order]
    real = compared.reference[order].value
    influence = at_rows(score.value * score.influence, compared.sample_rows, len(evidence.images("samples")))
    evidence.keep_contributions(_SCORE, {"samples": influence})
    return evidence.measurement(
        _SCORE,
        score.value,
        score.interval,
        n=score.n,
        unit="effective images",
        direction="higher",
        uses_extractor=True,
        floor=real,
        note=(
            f"Order {_NAMES[order]}, cosine similarity; {score.n} real images reach {real:.4g}. It grows with n: "
            "compare equal n only."
        ),
        order=_NAMES[order],
    )


def _table(compared: _Compared, others: Mapping[Role, Scores]) -> Table:
    rows: dict[str, Scores] = {"samples": compared.samples, "reference": compared.reference}
    rows |= {str(role): scores for role, scores in others.items()}
    rows |= {"part of reference": compared.parts[0], "other part of reference": compared.parts[1]}
    return Table(
        name="vendi_scores",
        title="Vendi scores by order",
        columns=("set", "n", "order", "score", "low", "high"),
        rows=tuple(
            (label, one.n, _NAMES[order], one.value, one.interval.low, one.interval.high)
            for label, scores in rows.items()
            for order, one in scores.items()
        ),
        note="Small orders listen to rare images, large ones to the common. Only rows of equal n and order compare.",
    )


def _figure(compared: _Compared) -> Figure:
    ratios = {_NAMES[order]: compared.ratio(order) for order in ORDERS}
    return Figure(
        name="vendi_ratios",
        kind="intervals",
        title="Vendi score of the samples over that of as many real images",
        alt="One interval for each order; below one the samples are less varied than real images.",
        x_label="order",
        y_label="ratio",
        series=(
            Series(
                "samples / reference",
                tuple(ratios),
                tuple(one.value for one in ratios.values()),
                tuple(one.interval.low for one in ratios.values()),
                tuple(one.interval.high for one in ratios.values()),
            ),
        ),
        lines={"as varied as real images": 1.0},
    )
