"""Evidence made in memory, so that a check can be put before a phantom without a model, a run or a disk."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import TypeVar, final

import numpy as np
from numpy.typing import NDArray

from ldm_eval.api import (
    AttributeLabels,
    Evidence,
    ExtractorInfo,
    FeatureStatistics,
    ImageSet,
    Role,
    Scalar,
    Scores,
    Signature,
)
from ldm_eval.errors import EvidenceError
from ldm_eval.stats.digests import image_digest

K = TypeVar("K")
V = TypeVar("V")

__all__ = ["PhantomEvidence", "image_set", "set_of_features"]


def image_set(pixels: NDArray[np.uint8], name: str, split: str = "") -> ImageSet:
    """Wrap ``pixels (N, C, H, W) uint8`` as a set with ids ``"0", "1", ...``."""
    return ImageSet(
        name=name,
        split=split,
        pixels=pixels,
        ids=tuple(str(i) for i in range(len(pixels))),
        digest=image_digest(pixels),
    )


def set_of_features(features: NDArray[np.float32], name: str) -> ImageSet:
    """A stand-in set for phantoms in feature space: N black 1x1 images, told apart by the digest of the features."""
    return ImageSet(
        name=name,
        split="",
        pixels=np.zeros((len(features), 1, 1, 1), dtype=np.uint8),
        ids=tuple(str(i) for i in range(len(features))),
        digest=hashlib.sha256(np.ascontiguousarray(features).tobytes()).hexdigest(),
    )


@final
class PhantomEvidence(Evidence):
    """Evidence whose every array is given.

    Args:
        check: Id of the check it is for.
        seed: Seed of the phantom.
        images: Role -> set. Roles that only have features get a stand-in set.
        features: Role -> ``(N, D) float32``.
        logits: Role -> ``(N, K) float32``.
        scores: Score name -> role -> Scores.
        attributes: Role -> labels.
        parameters: Settings of the check.
        private: Folder for private evidence, or None.
        text: Role -> ``(N, D) float32`` features of prompts.
        statistics: Reference statistics, or None.
        mirrored: Role -> ``(N, D) float32`` features of mirrored images; a role left out has none.
        extractor: What the features are said to come from; an extractor named ``phantom`` when left out.

    Attributes:
        kept: (measurement, group) -> role -> contributions that the check kept.
    """

    def __init__(
        self,
        check: str,
        seed: int,
        *,
        images: Mapping[Role, ImageSet] | None = None,
        features: Mapping[Role, NDArray[np.float32]] | None = None,
        logits: Mapping[Role, NDArray[np.float32]] | None = None,
        scores: Mapping[str, Mapping[Role, Scores]] | None = None,
        attributes: Mapping[Role, AttributeLabels] | None = None,
        parameters: Mapping[str, Scalar] | None = None,
        private: Path | None = None,
        text: Mapping[Role, NDArray[np.float32]] | None = None,
        statistics: FeatureStatistics | None = None,
        extractor: ExtractorInfo | None = None,
        mirrored: Mapping[Role, NDArray[np.float32]] | None = None,
    ) -> None:
        self.check = check
        self.seed = seed
        self.parameters = dict(parameters or {})
        self._features = dict(features or {})
        self._logits = dict(logits or {})
        self._scores = {name: dict(by_role) for name, by_role in (scores or {}).items()}
        self._attributes = dict(attributes or {})
        self._private = private
        self._text = dict(text or {})
        self._statistics = statistics
        self._extractor = extractor
        self._mirrored = dict(mirrored or {})
        self.kept: dict[tuple[str, str | None], dict[Role, NDArray[np.float64]]] = {}
        self._images: dict[Role, ImageSet] = dict(images or {})
        for role, values in {**self._logits, **self._features}.items():
            self._images.setdefault(role, set_of_features(values, f"phantom {role}"))

    def has(self, role: Role) -> bool:
        """True when the phantom has images or features in this role."""
        return role in self._images

    def images(self, role: Role) -> ImageSet:
        """The images in this role."""
        return _get(self._images, role, f"images in the role '{role}'")

    def features(self, role: Role) -> NDArray[np.float32]:
        """``(N, D) float32``."""
        return _get(self._features, role, f"features of '{role}'")

    def logits(self, role: Role) -> NDArray[np.float32]:
        """``(N, K) float32``."""
        return _get(self._logits, role, f"logits of '{role}'")

    def extractor(self) -> ExtractorInfo:
        """An extractor named ``phantom``, unless another was given."""
        if self._extractor is not None:
            return self._extractor
        dimension = next((int(values.shape[1]) for values in self._features.values()), 0)
        classes = next((int(values.shape[1]) for values in self._logits.values()), None)
        return ExtractorInfo("phantom", "0" * 64, dimension, classes, "none", "Apache-2.0")

    def scores(self, name: str, role: Role) -> Scores:
        """A white-box score."""
        return _get(_get(self._scores, name, f"scores '{name}'"), role, f"scores '{name}' of '{role}'")

    def attributes(self, role: Role) -> AttributeLabels:
        """Attribute labels."""
        return _get(self._attributes, role, f"attribute labels of '{role}'")

    def text_features(self, role: Role) -> NDArray[np.float32]:
        """``(N, D) float32``."""
        return _get(self._text, role, f"prompts of '{role}'")

    def mirrored_features(self, role: Role) -> NDArray[np.float32] | None:
        """``(N, D) float32``, or None."""
        return self._mirrored.get(role)

    def statistics(self) -> FeatureStatistics | None:
        """The reference statistics it was given."""
        return self._statistics

    def keep_contributions(
        self, name: str, contributions: Mapping[Role, NDArray[np.float64]], group: str | None = None
    ) -> None:
        """Keep them in ``kept``."""
        self.kept[name, group] = dict(contributions)

    def protocol(self) -> Signature:
        """A protocol that says it is a phantom."""
        return {"model": "phantom", "seed": self.seed}

    def private_folder(self) -> Path | None:
        """Where the phantom was told to write, if anywhere."""
        return self._private


def _get(known: Mapping[K, V], key: K, what: str) -> V:
    if key not in known:
        raise EvidenceError(f"The phantom has no {what}; it has {sorted(map(str, known)) or 'nothing of the kind'}.")
    return known[key]
