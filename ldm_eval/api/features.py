"""Feature extractors, and classifiers of attributes with their known errors."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Protocol, runtime_checkable

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from ldm_eval.api.images import ImageSet

UNKNOWN = "unknown"
"""The label every attribute classifier may give; it is never a class and never dropped silently."""


@dataclass(frozen=True, slots=True, eq=False)
class Features:
    """One extractor's view of N images.

    Attributes:
        values: ``(N, D) float32`` features.
        logits: ``(N, K) float32`` class logits without bias where the network classifies, else None.
        extractor: Name of the extractor, where the features came with the images; for messages.
    """

    values: NDArray[np.float32]
    logits: NDArray[np.float32] | None = None
    extractor: str = ""


@dataclass(frozen=True, slots=True)
class ExtractorInfo:
    """What a measurement must say about the extractor behind it.

    Attributes:
        name: e.g. ``"efficientnet-lite0"``.
        fingerprint: SHA-256 over weights AND preprocessing; equal fingerprints mean comparable numbers.
        dimension: D.
        classes: K, or None when it has no classifier.
        resize: The exact resizing, e.g. ``"bilinear-antialias-224"``.
        licence: SPDX id of code and weights.
        text: True when it also embeds text into the same space (a TextExtractor).
    """

    name: str
    fingerprint: str
    dimension: int
    classes: int | None
    resize: str
    licence: str
    text: bool = False


@dataclass(frozen=True, slots=True, eq=False)
class FeatureStatistics:
    """Mean and covariance of the features of real images that are not here themselves.

    Attributes:
        name: What the user named: a file.
        mean: ``(D,) float64``.
        covariance: ``(D, D) float64``, with divisor n - 1.
        n: How many images they are of, or None when the file does not say.
        digest: SHA-256 (hex) over both arrays.
        fingerprint: Of the extractor they were computed with, or an empty string when the file does not say.
    """

    name: str
    mean: NDArray[np.float64]
    covariance: NDArray[np.float64]
    n: int | None
    digest: str
    fingerprint: str = ""


class FeatureExtractor(Protocol):
    """``(N, 3, H, W) uint8 -> (N, D) float32``; the batch size never changes a feature beyond rounding."""

    @property
    def info(self) -> ExtractorInfo:
        """What a measurement must say about it."""
        ...

    def extract(self, images: NDArray[np.uint8]) -> Features:
        """Extract features of ``(N, 3, H, W) uint8`` images. Raises DataError for any other shape or type."""
        ...


@runtime_checkable
class TextExtractor(FeatureExtractor, Protocol):
    """An extractor whose space holds text as well as images; its info says ``text=True``."""

    def embed_text(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """N texts -> ``(N, D) float32``, comparable by cosine with the features of images."""
        ...


@dataclass(frozen=True, slots=True)
class ExtractorContext:
    """Where an extractor finds what it needs. ``weights`` is a file the user gave; ``offline`` forbids the network."""

    device: str
    offline: bool
    cache_dir: Path
    weights: Path | None = None


@dataclass(frozen=True, slots=True)
class ExtractorSpec:
    """A light description of an extractor; ``load`` reads the weights. Raises ConfigError when they are missing.

    ``text`` says, before any weights are read, that it is a TextExtractor.
    """

    name: str
    summary: str
    licence: str
    load: Callable[[ExtractorContext], FeatureExtractor]
    requires: tuple[str, ...] = ()
    extra: str = ""
    text: bool = False


@dataclass(frozen=True, slots=True)
class ConfusionCounts:
    """How often a classifier was right and wrong on images whose truth is known.

    Attributes:
        classes: True classes in order, without ``"unknown"``.
        counts: ``counts[i][j]``: images of true class i that were called class j; the last column is ``"unknown"``.
        source: Where the labelled images came from.
    """

    classes: tuple[str, ...]
    counts: tuple[tuple[int, ...], ...]
    source: str


class AttributeClassifier(Protocol):
    """Tells which group an image shows, with its own known errors."""

    @property
    def name(self) -> str:
        """What the user types."""
        ...

    @property
    def attribute(self) -> str:
        """What is told apart, e.g. ``"perceived age band"`` or ``"digit"``."""
        ...

    @property
    def confusion(self) -> ConfusionCounts:
        """Its errors on images whose truth is known."""
        ...

    @property
    def licence(self) -> str:
        """SPDX id of code and weights."""
        ...

    @property
    def limits(self) -> str:
        """One sentence on where its labels must not be trusted."""
        ...

    def classify(self, images: NDArray[np.uint8], features: NDArray[np.float32]) -> NDArray[np.str_]:
        """``(N, 3, H, W) uint8`` and their ``(N, D)`` features -> ``(N,)`` class names or ``"unknown"``."""
        ...


@dataclass(frozen=True, slots=True, eq=False)
class LabelledImages:
    """Real images with known groups and their features, to fit and to judge an attribute classifier."""

    images: ImageSet
    features: NDArray[np.float32]


@dataclass(frozen=True, slots=True, eq=False)
class AttributeContext:
    """What an attribute classifier may learn from. ``attribute`` names the column of ``ImageSet.groups``."""

    attribute: str
    training: LabelledImages | None
    holdout: LabelledImages | None
    seed: int


@dataclass(frozen=True, slots=True)
class AttributeClassifierSpec:
    """A light description of an attribute classifier.

    Attributes:
        name: What the user types.
        summary: One line.
        needs_labels: True when it is fitted on groups that come with the data.
        load: Builds it. Raises DataError when the context is not enough.
        attribute: The one column of groups that it can tell; empty when it learns whichever is asked for.
        made_for: Names of datasets on which it is used unless the user names another.
    """

    name: str
    summary: str
    needs_labels: bool
    load: Callable[[AttributeContext], AttributeClassifier]
    requires: tuple[str, ...] = ()
    extra: str = ""
    attribute: str = ""
    made_for: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, eq=False)
class AttributeLabels:
    """What an attribute classifier said about one set of images.

    Attributes:
        attribute: What was told apart.
        classifier: Name of the classifier.
        limits: Its limits, for the card.
        labels: ``(N,)`` array of str, classes or ``"unknown"``.
        confusion: Its errors on images whose truth is known.
        declared: Class -> share in the training data by the labels that came with it; empty when there are none.
    """

    attribute: str
    classifier: str
    limits: str
    labels: NDArray[np.str_]
    confusion: ConfusionCounts
    declared: Mapping[str, float]
