"""Nearest training images in a feature space where a copy is near and a fresh image is not."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ldm_eval.api import Evidence, Role
from ldm_eval.errors import EvidenceError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

__all__ = [
    "COPY_DETECTOR",
    "FeatureMatches",
    "FeatureSpace",
    "fit_space",
    "match",
    "mirrored_features",
    "usable_features",
]

COPY_DETECTOR = "sscd"
"""The extractor whose cosines have published thresholds."""

_FITTED_ON = 20_000
_SHRINKAGE = 0.1
_BLOCK_ELEMENTS = 1 << 21
_IN_MEMORY = 1 << 26  # values; more are laid out in a temporary file

Progress = Callable[[int, int], None]


@dataclass(frozen=True, slots=True, eq=False)
class FeatureSpace:
    """Unit vectors whose cosine says how alike two images are.

    Attributes:
        mean: ``(D,)``, subtracted.
        whitening: ``(D, D)``, applied to the rows from the right; None in the space of a copy detector, where
            features are only brought to length 1.
    """

    mean: NDArray[np.float64]
    whitening: NDArray[np.float64] | None

    def rows(self, features: NDArray[Any]) -> NDArray[np.float32]:
        """``(N, D) -> (N, D)`` float32 of length 1 (a zero row stays zero), block by block.

        More than 256 MB are laid out in a temporary file that nobody else can see, so memory does not grow with N.
        """
        import numpy as np

        n, d = features.shape
        out = _array(n, d)
        step = max(1, _BLOCK_ELEMENTS // max(1, d))
        for start in range(0, n, step):
            block = np.asarray(features[start : start + step], dtype=np.float64)
            if self.whitening is not None:
                block = (block - self.mean) @ self.whitening
            lengths = np.sqrt(np.einsum("nd,nd->n", block, block))[:, None]
            out[start : start + step] = block / np.where(lengths > 0, lengths, 1.0)
        return out


@dataclass(frozen=True, slots=True, eq=False)
class FeatureMatches:
    """The nearest training image of each of N images.

    Attributes:
        similarity: ``(N,)`` float64, cosine in the space, from squared differences in float64: equal rows have 1.
        nearest: ``(N,)`` int64, its row in the training set.
        mirrored: ``(N,)`` bool, True where it is the mirrored query that is near.
    """

    similarity: NDArray[np.float64]
    nearest: NDArray[np.int64]
    mirrored: NDArray[np.bool_]


def usable_features(evidence: Evidence, role: Role) -> NDArray[np.float32]:
    """The features of a role.

    Raises:
        EvidenceError: naming the images whose features are not finite.
    """
    features = evidence.features(role)
    _refuse(evidence, features, role)
    return features


def mirrored_features(evidence: Evidence, role: Role) -> NDArray[np.float32] | None:
    """The features of the mirrored images of a role, None where only features are known; raises as above."""
    features = evidence.mirrored_features(role)
    if features is not None:
        _refuse(evidence, features, f"mirrored {role}")
    return features


def _refuse(evidence: Evidence, features: NDArray[np.float32], what: str) -> None:
    from ldm_eval.stats.feature_sets import LARGEST, rows_not_finite

    bad = rows_not_finite(features)
    if len(bad):
        raise EvidenceError(
            f"{len(bad)} of {len(features)} feature vectors of the {what} set are not finite or beyond {LARGEST:g} "
            f"(first: image {bad[0]}); look at these images and at the extractor '{evidence.extractor().name}'."
        )


def fit_space(training: NDArray[Any], extractor: str, rng: np.random.Generator) -> FeatureSpace:
    """The space of a copy detector as it is; that of any other extractor whitened by the training features.

    A classifier's features vary most with what is shown, least with which picture it is. Whitening evens that out (as
    is done to the descriptors of copy detection, arXiv:2202.10261, section 3.3). The covariance is of at most 20,000
    *different* training rows, a tenth of its mean variance added to each direction: it exists with few rows too.
    """
    import numpy as np
    from scipy import linalg

    d = training.shape[1]
    if extractor == COPY_DETECTOR:
        return FeatureSpace(np.zeros(d), None)
    n = len(training)
    chosen = np.arange(n) if n <= _FITTED_ON else np.sort(rng.choice(n, _FITTED_ON, replace=False))
    rows = np.unique(np.asarray(training[chosen]), axis=0).astype(np.float64)
    mean = rows.mean(axis=0)
    covariance = (rows - mean).T @ (rows - mean) / len(rows)
    variance = float(np.trace(covariance)) / d
    if variance == 0:
        return FeatureSpace(mean, None)
    values, vectors = linalg.eigh(covariance, check_finite=False)
    values = (1 - _SHRINKAGE) * np.maximum(values, 0.0) + _SHRINKAGE * variance
    return FeatureSpace(mean, np.asarray(vectors / np.sqrt(values), dtype=np.float64))


def match(
    queries: NDArray[np.float32],
    mirrored: NDArray[np.float32] | None,
    index: NDArray[np.float32],
    progress: Progress,
    min_recall: float = 1.0,
) -> FeatureMatches:
    """The nearest row of ``index`` to each query or to its mirror image; all are rows of one FeatureSpace.

    Queries are mirrored, not the index: a sample that mirrors a training image is, mirrored, that image. It costs as
    many features as there are queries, leaves the index as it is, and serves a training set of which only features
    are known. ``min_recall``: see ``neighbour_search.search``.
    """
    import numpy as np

    from ldm_eval_privacy.neighbour_search import search

    passes = 1 if mirrored is None else 2
    straight = search(queries, index, 1, lambda done, total: progress(done, passes * total), min_recall)
    distance, row = straight.distances[:, 0], straight.indices[:, 0]
    flipped = np.zeros(len(queries), dtype=bool)
    if mirrored is not None:
        other = search(mirrored, index, 1, lambda done, total: progress(total + done, passes * total), min_recall)
        flipped = other.distances[:, 0] < distance
        distance = np.where(flipped, other.distances[:, 0], distance)
        row = np.where(flipped, other.indices[:, 0], row)
    return FeatureMatches(1 - np.square(distance) / 2, row, flipped)


def _array(n: int, d: int) -> NDArray[np.float32]:
    import numpy as np

    if n * d <= _IN_MEMORY:
        return np.empty((n, d), dtype=np.float32)
    with tempfile.TemporaryFile() as file:  # the map keeps it until it is gone itself
        return np.memmap(file, dtype=np.float32, mode="w+", shape=(n, d))
