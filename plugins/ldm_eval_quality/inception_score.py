"""Inception score: how sure the classifier is of each image, and how many classes it sees over all."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import ClassVar, final

import numpy as np
from numpy.typing import NDArray
from scipy.special import log_softmax, xlogy

from ldm_eval.api import (
    Alarm,
    Evidence,
    Finding,
    Interval,
    Invalid,
    Needs,
    NotApplicable,
    PhantomCase,
    Phantoms,
    Planning,
    Table,
)
from ldm_eval.errors import EvidenceError
from ldm_eval.stats.intervals import normal_quantile
from ldm_eval.stats.resampling import bootstrap_counts, shuffled_splits
from ldm_eval_quality.naming import has_published_scores

__all__ = ["InceptionScore", "InceptionScoreCheck", "inception_score"]

Array = NDArray[np.float64]

_SPLITS = 10
_DRAWS = 200
_MINIMUM = 100
_FACTORY = "ldm_eval_quality.phantoms:classified"
_ESTIMATOR = "bootstrap standard error on the log scale; covers the expected score at this split size"


@dataclass(frozen=True, slots=True)
class InceptionScore:
    """Mean of ``exp(E KL(p(y|x) || p(y)))`` over the splits; higher is surer and more varied, at most K.

    Attributes:
        value: Mean over splits, as published.
        spread: Standard deviation over splits (population form), as published; it is no interval.
        by_split: Score of each split.
        split_size: Images in the smallest split; the score cannot exceed it.
        interval: For the expected score at this split size.
        influence: ``(N,)``, what each image adds to the score (mean 0): to first order the bootstrap's variance.
    """

    value: float
    spread: float
    by_split: tuple[float, ...]
    split_size: int
    interval: Interval
    influence: Array = field(compare=False, repr=False)


def inception_score(
    logits: NDArray[np.float32], rng: np.random.Generator, *, splits: int = _SPLITS, level: float = 0.95
) -> InceptionScore:
    """Inception score of ``logits (N, K)``, without bias, as the mean over shuffled splits.

    The score is biased downward by small splits. The percentile bootstrap would add that bias a second time (each draw
    sees fewer distinct images), so the bootstrap gives the standard error only: images are drawn again within each
    split, and the interval is normal in the logarithm of the score.

    Args:
        logits: ``(N, K)``, rows i.i.d., finite.
        rng: Decides the splits and the bootstrap draws.
        splits: Ten in the literature.
        level: Of the two-sided interval.

    Raises:
        DataError: for fewer rows than splits.

    Source: arXiv:1606.03498; on the bias, arXiv:1801.01973.
    """
    scores, drawn, sizes, influence = [], np.zeros(_DRAWS), [], np.zeros(len(logits))
    for rows in shuffled_splits(len(logits), splits, rng):
        log_p = log_softmax(logits[rows].astype(np.float64), axis=1)
        p = np.exp(log_p)
        certainty = np.einsum("ij,ij->i", p, log_p)
        once = np.full((1, len(rows)), 1.0)
        scores.append(float(_scores(once, p, certainty)[0]))
        drawn += _scores(bootstrap_counts(len(rows), _DRAWS, rng), p, certainty) / splits
        sizes.append(len(rows))
        # KL(p_i || mean of p) less its mean is the influence on the information, whose exponential is the score
        divergence = certainty - p @ np.log(np.maximum(p.mean(axis=0), np.finfo(np.float64).tiny))
        influence[rows] = (divergence - divergence.mean()) * scores[-1] * (len(logits) / (splits * len(rows)))
    value = float(np.mean(scores))
    # a bootstrap's variance is that of n - 1 images, not n: splits are small enough for that to matter
    spread = float(np.std(np.log(drawn), ddof=1)) * math.sqrt(min(sizes) / max(1, min(sizes) - 1))
    reach = normal_quantile(level) * spread
    interval = Interval(max(1.0, value * math.exp(-reach)), value * math.exp(reach), level, _ESTIMATOR)
    return InceptionScore(value, float(np.std(scores)), tuple(scores), min(sizes), interval, influence)


def _scores(counts: Array, p: Array, certainty: Array) -> Array:
    """``(draws,)`` scores of one split whose images are drawn ``counts (draws, n)`` times."""
    marginal = counts @ p / counts.shape[1]
    entropy = -xlogy(marginal, marginal).sum(axis=1)
    information = counts @ certainty / counts.shape[1] + entropy
    return np.asarray(np.exp(np.maximum(information, 0.0)), dtype=np.float64)


@final
class InceptionScoreCheck:
    """How sure the run's classifier is of each image, and how many classes it sees; it never looks at real images.

    Plainly ``inception_score`` with the 2015 Inception weights, otherwise ``inception_score (EXTRACTOR)``.
    """

    id: ClassVar[str] = "quality/inception_score"
    title: ClassVar[str] = "Inception score"
    question: ClassVar[str] = "Does a classifier recognise each sample, and many classes over all samples?"
    needs: ClassVar[Needs] = Needs(
        samples=_MINIMUM, optional=("reference",), logits=("samples", "reference"), each_extractor=True
    )
    planning: ClassVar[Mapping[str, Planning]] = {"*": Planning("mean", "samples")}
    phantoms: ClassVar[Phantoms] = Phantoms(
        measurement="inception_score (phantom)",
        alarm=Alarm("high", "<", 5.0),
        catches=PhantomCase(_FACTORY, "2 of 10 classes are drawn", {"classes_drawn": 2, "confidence": 12.0}),
        leaves_alone=PhantomCase(
            _FACTORY, "all 10 classes, recognised surely", {"classes_drawn": 10, "confidence": 12.0}
        ),
    )

    def run(self, evidence: Evidence) -> Sequence[Finding] | NotApplicable | Invalid:
        """Measure the score. NotApplicable without a classifier or with too few images."""
        info = evidence.extractor()
        if info.classes is None:
            return NotApplicable(
                f"The extractor '{info.name}' has no classifier and the Inception score needs class logits; "
                "choose one that classifies (`ldm-eval list extractors`)."
            )
        logits = _finite(evidence, "samples", evidence.logits("samples"))
        if len(logits) < _MINIMUM:
            return NotApplicable(
                f"{len(logits)} samples were given and ten splits need at least {_MINIMUM}; ask for more samples."
            )
        name = "inception_score" if has_published_scores(info) else f"inception_score ({info.name})"
        score = inception_score(logits, evidence.rng("splits"))
        level_of_real = _of_reference(evidence, score.split_size)
        note = f"Classifier: {info.name}. Standard deviation over {_SPLITS} splits, as published: {score.spread:.4g}."
        if score.split_size < 10 * info.classes:
            note += f" Splits of {score.split_size} images are few for {info.classes} classes: the score reads low."
        found = evidence.measurement(
            name,
            score.value,
            score.interval,
            n=len(logits),
            unit="effective classes",
            direction="higher",
            uses_extractor=True,
            floor=None if level_of_real is None else level_of_real.value,
            note=note,
            classifier=info.name,
            classifier_classes=info.classes,
            splits=_SPLITS,
        )
        evidence.keep_contributions(name, {"samples": score.influence})
        return [found, _table(name, score, len(logits), level_of_real)]


def _of_reference(evidence: Evidence, split_size: int) -> InceptionScore | None:
    """The score of real images in splits of the same size; None where there are not enough for one split."""
    if not evidence.has("reference"):
        return None
    logits = _finite(evidence, "reference", evidence.logits("reference"))
    splits = min(_SPLITS, len(logits) // split_size)
    if splits < 1:
        return None
    rng = evidence.rng("reference splits")
    return inception_score(logits[rng.permutation(len(logits))[: splits * split_size]], rng, splits=splits)


def _finite(evidence: Evidence, role: str, logits: NDArray[np.float32]) -> NDArray[np.float32]:
    if not np.isfinite(logits).all():
        raise EvidenceError(
            f"Class logits of the {role} set are not finite; look at these images and at the extractor "
            f"'{evidence.extractor().name}'."
        )
    return logits


def _table(name: str, score: InceptionScore, n: int, real: InceptionScore | None) -> Table:
    rows = [("samples", n, score)]
    if real is not None:
        rows.append(("reference", real.split_size * len(real.by_split), real))
    return Table(
        name="splits",
        title=f"{name} as published: mean and standard deviation over splits",
        columns=("set", "n", "splits", "split size", "mean", "standard deviation"),
        rows=tuple((label, count, len(s.by_split), s.split_size, s.value, s.spread) for label, count, s in rows),
        note="The standard deviation over splits is not an error of the score; the interval is.",
    )
