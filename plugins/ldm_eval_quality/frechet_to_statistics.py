"""Fréchet distance of the samples to the mean and covariance in a file: a published reference without its images."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import ClassVar, final

from ldm_eval.api import (
    Alarm,
    Evidence,
    FeatureStatistics,
    Finding,
    Invalid,
    Measurement,
    Needs,
    NotApplicable,
    PhantomCase,
    Phantoms,
    Planning,
    Table,
)
from ldm_eval.stats.frechet_statistics import DistanceToStatistics, distance_to_statistics
from ldm_eval_quality.feature_sets import MINIMUM, usable_features
from ldm_eval_quality.naming import frechet_name

__all__ = ["FrechetToStatisticsCheck"]

_FACTORY = "ldm_eval_quality.conditional_phantoms:against_statistics"


@final
class FrechetToStatisticsCheck:
    """Squared Fréchet distance between the samples and a file's mean and covariance; lower is closer.

    Its interval covers the noise of the samples alone, and it has no floor: without the images behind the statistics
    nothing says how far real images are from them. ``quality/frechet_distance`` has both.
    """

    id: ClassVar[str] = "quality/frechet_to_statistics"
    title: ClassVar[str] = "Fréchet distance to statistics"
    question: ClassVar[str] = "How far are the samples from the mean and covariance in a statistics file?"
    needs: ClassVar[Needs] = Needs(samples=MINIMUM, features=("samples",), each_extractor=True, statistics=True)
    planning: ClassVar[Mapping[str, Planning]] = {"*": Planning("mean", "samples", parameters={"curved": 1.0})}
    phantoms: ClassVar[Phantoms] = Phantoms(
        measurement="frechet_distance_to_statistics",
        alarm=Alarm("low", ">", 0.25),
        catches=PhantomCase(_FACTORY, "every feature shifted by 0.2 standard deviations", {"shift": 0.2}),
        leaves_alone=PhantomCase(_FACTORY, "a draw from the law whose moments the file holds", {"shift": 0.0}),
    )

    def run(self, evidence: Evidence) -> Sequence[Finding] | NotApplicable | Invalid:
        """Measure the distance. NotApplicable without statistics of this extractor's dimension or with few samples."""
        info = evidence.extractor()
        statistics = evidence.statistics()
        if statistics is None:
            return NotApplicable(
                f"The reference statistics hold none of {info.dimension} dimensions, which '{info.name}' gives; choose "
                "the extractor that the file was made with."
            )
        if statistics.fingerprint not in ("", info.fingerprint):
            return Invalid(
                f"The reference statistics '{statistics.name}' were computed with another extractor "
                f"({statistics.fingerprint[:12]}) than '{info.name}' ({info.fingerprint[:12]}): their spaces differ."
            )
        features = usable_features(evidence, "samples")
        if len(features) < MINIMUM:
            return NotApplicable(f"{len(features)} samples were given and this check needs at least {MINIMUM}.")
        name = f"{frechet_name(info)}_to_statistics"
        found = distance_to_statistics(features, statistics.mean, statistics.covariance)
        evidence.keep_contributions(name, {"samples": found.influence})
        return [_measurement(evidence, name, found, statistics), _table(name, found, statistics)]


def _measurement(
    evidence: Evidence, name: str, found: DistanceToStatistics, statistics: FeatureStatistics
) -> Measurement:
    return evidence.measurement(
        name,
        found.value,
        found.interval,
        n=found.n,
        unit="squared feature distance",
        direction="lower",
        uses_extractor=True,
        note=_note(found, statistics),
        statistics_digest=statistics.digest,
        statistics_n=statistics.n,
    )


def _note(found: DistanceToStatistics, statistics: FeatureStatistics) -> str:
    behind = f"{statistics.n} images" if statistics.n else "an unknown number of images"
    text = (
        f"To the moments of '{statistics.name}' ({behind}); the interval covers the samples' noise only, and there is "
        "no floor."
    )
    if not statistics.fingerprint:
        text += " The file does not say which extractor made it: that it was this one is taken on trust."
    if found.n < 2 * found.dimension:
        text += f" With fewer than 2 x {found.dimension} samples it reads far above its limit: compare at equal n only."
    return text


def _table(name: str, found: DistanceToStatistics, statistics: FeatureStatistics) -> Table:
    return Table(
        name=f"{name}_parts",
        title="What the distance to the statistics is made of",
        columns=("statistics", "images behind them", "samples", "distance", "low", "high", "means", "covariances"),
        rows=(
            (
                statistics.name,
                statistics.n,
                found.n,
                found.value,
                found.interval.low,
                found.interval.high,
                found.mean_term,
                found.covariance_term,
            ),
        ),
        note="Statistics made with another resizing or another decoder than ours shift this number by more than noise.",
    )
