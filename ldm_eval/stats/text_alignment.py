"""How well images fit their texts, by cosine in a space that holds both, with shuffled texts as the control."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.special import stdtrit

from ldm_eval.api import Interval
from ldm_eval.errors import DataError
from ldm_eval.stats.feature_sets import refuse_unusable

__all__ = ["CLIP_SCORE_WEIGHT", "ClusteredMean", "TextAlignment", "clustered_mean", "text_alignment"]

Array = NDArray[np.float64]
Features = NDArray[np.float32] | NDArray[np.float64]

CLIP_SCORE_WEIGHT = 2.5
"""w of arXiv:2104.08718, which spreads the cosines of CLIP ViT-B/32 over about 0 to 1."""

_BLOCK_VALUES = 1 << 22
"""Cosines held at once."""


@dataclass(frozen=True, slots=True, eq=False)
class ClusteredMean:
    """A mean over images whose texts may repeat.

    Attributes:
        value: The mean.
        interval: Student's t over the texts, or over the images where all have one text.
        clusters: Different texts.
        n: Images.
        contributions: ``(n,)`` what each image adds (mean 0).
    """

    value: float
    interval: Interval
    clusters: int
    n: int
    contributions: Array


@dataclass(frozen=True, slots=True, eq=False)
class TextAlignment:
    """How well N images fit their own texts and the others' texts.

    Attributes:
        score: Mean of ``2.5 max(cosine, 0)`` with the own text: CLIPScore as published (higher is better).
        cosine: Mean cosine with the own text, x 100: what torchmetrics calls CLIP score.
        shuffled: Mean of ``2.5 max(cosine, 0)`` over all pairs of an image and a text that is not its own; None where
            all texts are one.
        gain: ``score`` less ``shuffled``, zero in expectation for images that have nothing to do with their texts.
        by_image: ``(n,)`` 2.5 max(cosine, 0) of each image with its own text.
    """

    score: ClusteredMean
    cosine: ClusteredMean
    shuffled: ClusteredMean | None
    gain: ClusteredMean | None
    by_image: Array


def text_alignment(
    images: Features, texts: Features, clusters: NDArray[np.int64], *, level: float = 0.95
) -> TextAlignment:
    """CLIPScore of images and their texts, and of images and the texts of others.

    The control is no single shuffle: it is the mean over *all* pairs of an image and another image's text, where the
    two texts differ. That is a U-statistic of order two, whose influence function adds what an image makes of other
    texts and what other images make of its text; the gain pairs both with the image's own score. Images of one text
    are one unit (cluster-robust error with Student's t over the texts), so the intervals are for other texts like
    these, too.

    Args:
        images: ``(n, d)``, rows not zero; the images of one text i.i.d. and texts i.i.d.
        texts: ``(n, d)``, row i the text of image i.
        clusters: ``(n,)``, equal for equal texts.
        level: Of the two-sided intervals.

    Raises:
        DataError: for sets that do not fit, fewer than two rows, values that are not finite, or rows of zeros.

    Source: arXiv:2104.08718.
    """
    refuse_unusable(images, texts, ("image", "text"), "A comparison of images with texts", 2)
    if not len(images) == len(texts) == len(clusters):
        raise DataError(f"{len(images)} images have {len(texts)} texts with {len(clusters)} names; each has one.")
    x, y = _unit(images, "image"), _unit(texts, "text")
    cosines = np.einsum("ij,ij->i", x, y)
    own = CLIP_SCORE_WEIGHT * np.maximum(cosines, 0.0)
    _, cluster = np.unique(clusters, return_inverse=True)
    score = clustered_mean(own, cluster, level)
    cosine = clustered_mean(100.0 * cosines, cluster, level)
    if cluster.max() == 0:
        return TextAlignment(score, cosine, None, None, own)
    value, parts = _others(x, y, cluster)
    shuffled = _estimate(value, parts, cluster, level)
    gain = _estimate(score.value - value, (own - score.value) - parts, cluster, level)
    return TextAlignment(score, cosine, shuffled, gain, own)


def clustered_mean(values: Array, clusters: NDArray[np.intp], level: float = 0.95) -> ClusteredMean:
    """Mean of ``values (n,)`` whose error allows for clusters ``(n,)`` numbered from 0.

    Raises:
        DataError: for fewer than two values.
    """
    if len(values) < 2:
        raise DataError(f"A mean with an interval needs at least two values; found {len(values)}.")
    value = float(np.mean(values))
    return _estimate(value, values - value, clusters, level)


def _others(x: Array, y: Array, cluster: NDArray[np.intp]) -> tuple[float, Array]:
    """Mean over pairs (image i, text j) of different clusters, and what image i adds as an image and as a text."""
    n = len(x)
    first = np.unique(cluster, return_index=True)[1]
    sizes = np.bincount(cluster).astype(np.float64)
    row_sums, column_sums = np.zeros(n), np.zeros(len(first))
    step, different = max(1, _BLOCK_VALUES // len(first)), y[first].T
    for start in range(0, n, step):
        block = CLIP_SCORE_WEIGHT * np.maximum(x[start : start + step] @ different, 0.0)
        block[np.arange(len(block)), cluster[start : start + step]] = 0.0
        row_sums[start : start + step] = block @ sizes
        column_sums += block.sum(axis=0)
    pairs = float(n * n - np.square(sizes).sum())
    value = float(row_sums.sum()) / pairs
    # To first order the ratio of two sums over pairs; an image takes part in n - size pairs as image, as many as text.
    partners = n - sizes[cluster]
    parts = n / pairs * ((row_sums - value * partners) + (column_sums[cluster] - value * partners))
    return value, parts


def _estimate(value: float, parts: Array, clusters: NDArray[np.intp], level: float) -> ClusteredMean:
    n, count = len(parts), int(clusters.max()) + 1
    if count > 1:
        sums = np.bincount(clusters, weights=parts, minlength=count)
        variance, freedom = count / (count - 1.0) * float(np.square(sums).sum()) / n**2, count - 1.0
        estimator = "Student's t, cluster-robust over prompts" if count < n else "Student's t over images"
    else:
        variance, freedom = float(np.var(parts, ddof=1)) / n, n - 1.0
        estimator = "Student's t over images of the one prompt"
    reach = float(stdtrit(freedom, 0.5 + level / 2.0)) * math.sqrt(variance)
    return ClusteredMean(value, Interval(value - reach, value + reach, level, estimator), count, n, parts)


def _unit(rows: Features, what: str) -> Array:
    wide = np.asarray(rows, dtype=np.float64)
    lengths = np.linalg.norm(wide, axis=1)
    if not lengths.all():
        raise DataError(
            f"The {what} in row {int(np.argmin(lengths))} has a feature vector of zeros, which has no direction; look "
            "at the extractor."
        )
    return np.asarray(wide / lengths[:, None], dtype=np.float64)
