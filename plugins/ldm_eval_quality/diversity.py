"""How far apart the samples are from each other in feature space, beside the same of real images."""

from __future__ import annotations

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
from ldm_eval.stats.resampling import disjoint_parts, subset
from ldm_eval.stats.spread import MeanPairwiseDistance, mean_pairwise_distance, spread_ratio
from ldm_eval_quality.chosen_rows import at_rows, chosen
from ldm_eval_quality.feature_sets import MINIMUM, companions, refusal, repeats_note, usable_features

__all__ = ["FeatureDiversityCheck"]

_UNIT = "feature distance"
_MOST = 10_000
"""Images of each set that are used: 50 million pairs leave an error far below any difference between models."""
_FACTORY = "ldm_eval_quality.diversity_phantoms:variety"
_CASE: Mapping[str, int | float | str] = {"check": "quality/feature_diversity"}
_NAME, _RATIO = "feature_diversity", "feature_diversity_ratio"


@dataclass(frozen=True, slots=True, eq=False)
class _Spread:
    """The mean distance within one set, and the rows it was taken of."""

    distance: MeanPairwiseDistance
    rows: NDArray[np.int64]

    def contributions(self, total: int, factor: float) -> NDArray[np.float64]:
        """``factor`` times the influence of each of ``total`` images; NaN for those that were not used."""
        return at_rows(factor * self.distance.influence, self.rows, total)


@final
class FeatureDiversityCheck:
    """Mean distance between two samples in feature space, and over that between two real images (1: as varied)."""

    id: ClassVar[str] = "quality/feature_diversity"
    title: ClassVar[str] = "Feature-space diversity"
    question: ClassVar[str] = "Are the samples as different from each other as real images are?"
    needs: ClassVar[Needs] = Needs(
        samples=MINIMUM,
        roles=("reference",),
        optional=("training", "holdout"),
        features=("samples", "reference"),
        each_extractor=True,
    )
    planning: ClassVar[Mapping[str, Planning]] = {
        _RATIO: Planning("mean", "samples, and as many reference images", perfect=1.0, most=_MOST),
        "*": Planning("mean", "samples", most=_MOST),
    }
    phantoms: ClassVar[Phantoms] = Phantoms(
        measurement=_RATIO,
        alarm=Alarm("high", "<", 1.0),
        catches=PhantomCase(_FACTORY, "2 of 8 modes are drawn", {**_CASE, "modes_drawn": 2}),
        leaves_alone=PhantomCase(_FACTORY, "another draw from the reference's distribution", _CASE, 1.0),
    )

    def run(self, evidence: Evidence) -> Sequence[Finding] | NotApplicable | Invalid:
        """Measure the mean distances. NotApplicable for too few images, Invalid for a constant reference."""
        refused = refusal(evidence)
        if refused is not None:
            return refused
        samples, reference = _spread(evidence, "samples"), _spread(evidence, "reference")
        digest = evidence.images("reference").digest
        others = {
            str(role): _spread(evidence, role).distance
            for role in companions(evidence)
            if evidence.images(role).digest != digest
        }
        rows = {"samples": samples.distance, "reference": reference.distance, **others}
        return [
            _ratio(evidence, samples, reference),
            _diversity(evidence, samples, reference.distance),
            _table(rows),
            _figure(rows),
        ]


def _spread(evidence: Evidence, role: Role) -> _Spread:
    features = usable_features(evidence, role)
    rows = subset(len(features), _MOST, evidence.rng(f"subset of {role}"))
    return _Spread(mean_pairwise_distance(chosen(features, rows)), rows)


def _ratio(evidence: Evidence, samples: _Spread, reference: _Spread) -> Measurement:
    ratio = spread_ratio(samples.distance, reference.distance)
    features = usable_features(evidence, "reference")
    parts = disjoint_parts(len(reference.rows), len(samples.rows), evidence.rng("parts of the reference"))
    halves = [mean_pairwise_distance(features[reference.rows[part]]) for part in (parts.first, parts.second)]
    real = reference.distance.value
    evidence.keep_contributions(
        _RATIO,
        {
            "samples": samples.contributions(len(evidence.images("samples")), 1.0 / real),
            "reference": reference.contributions(len(evidence.images("reference")), -ratio.value / real),
        },
    )
    return evidence.measurement(
        _RATIO,
        ratio.value,
        ratio.interval,
        n=samples.distance.n,
        unit="times that of real images",
        direction="target",
        against="reference",
        uses_extractor=True,
        floor=spread_ratio(*halves).value if halves[1].value > 0.0 else None,
        note=(
            f"{samples.distance.n} samples over {reference.distance.n} real images; 1 is as far apart as real images, "
            f"noise may be farther. Floor: {halves[0].n} real images over {halves[1].n} others.{repeats_note(features)}"
        ),
        real_n=reference.distance.n,
    )


def _diversity(evidence: Evidence, samples: _Spread, real: MeanPairwiseDistance) -> Measurement:
    found = samples.distance
    evidence.keep_contributions(_NAME, {"samples": samples.contributions(len(evidence.images("samples")), 1.0)})
    return evidence.measurement(
        _NAME,
        found.value,
        found.interval,
        n=found.n,
        unit=_UNIT,
        direction="higher",
        uses_extractor=True,
        floor=real.value,
        note=f"Mean distance of two different samples; of two real images {real.value:.4g}. Unbiased at every n.",
    )


def _table(rows: Mapping[str, MeanPairwiseDistance]) -> Table:
    return Table(
        name="mean_distances",
        title="Mean distance between two images of one set",
        columns=("set", "n", "mean distance", "low", "high"),
        rows=tuple((label, one.n, one.value, one.interval.low, one.interval.high) for label, one in rows.items()),
        note="Unbiased, so rows of different n compare; in one feature space only.",
    )


def _figure(rows: Mapping[str, MeanPairwiseDistance]) -> Figure:
    return Figure(
        name="mean_distances",
        kind="intervals",
        title="Mean distance between two images of one set",
        alt="One interval for each set; samples below the real sets lie closer together than real images do.",
        x_label="set",
        y_label=_UNIT,
        series=(
            Series(
                "mean distance",
                tuple(rows),
                tuple(one.value for one in rows.values()),
                tuple(one.interval.low for one in rows.values()),
                tuple(one.interval.high for one in rows.values()),
            ),
        ),
    )
