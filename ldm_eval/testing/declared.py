"""Phantom evidence with the rules of a real run: only what was declared can be read, and nothing can be written to."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, final

import numpy as np
from numpy.typing import NDArray

from ldm_eval.api import (
    AttributeLabels,
    Evidence,
    ExtractorInfo,
    FeatureStatistics,
    ImageSet,
    Needs,
    Role,
    Scores,
    Signature,
)
from ldm_eval.errors import EvidenceError

__all__ = ["DeclaredEvidence"]


@final
class DeclaredEvidence(Evidence):
    """Wraps ``evidence`` for a check with these ``needs``.

    A run computes what its checks declare and hands arrays over as read-only memory maps. A check that reads more, or
    writes into what it was given, works on a generous phantom and crashes in its first real run; here it does so at
    once.
    """

    def __init__(self, evidence: Evidence, needs: Needs) -> None:
        self.check = evidence.check
        self.seed = evidence.seed
        self.parameters = evidence.parameters
        self._evidence = evidence
        self._needs = needs
        declared = {*needs.roles, *needs.optional, *needs.features, *needs.logits, *needs.attributes}
        declared |= {role for score in needs.scores for role in score.roles} | {*needs.pixels, *needs.text}
        if needs.samples:
            declared.add("samples")
        self._declared = declared

    def has(self, role: Role) -> bool:
        """True when there is a set of images in this role."""
        return self._evidence.has(role)

    def images(self, role: Role) -> ImageSet:
        """The images in this role, when the check declared the role in any way."""
        self._require(role in self._declared, f"images of '{role}'")
        images = self._evidence.images(role)
        groups = {name: _locked(values) for name, values in images.groups.items()}
        labels = None if images.labels is None else _locked(images.labels)
        return dataclasses.replace(images, pixels=_locked(images.pixels), groups=groups, labels=labels)

    def features(self, role: Role) -> NDArray[np.float32]:
        """Features, when declared."""
        self._require(role in self._declared and bool(self._needs.features), f"features of '{role}'")
        return _locked(self._evidence.features(role))

    def logits(self, role: Role) -> NDArray[np.float32]:
        """Logits, when declared."""
        self._require(role in self._needs.logits, f"logits of '{role}'")
        return _locked(self._evidence.logits(role))

    def extractor(self) -> ExtractorInfo:
        """The extractor, when features, logits, prompts or statistics were declared."""
        needs = self._needs
        self._require(bool(needs.features or needs.logits or needs.text or needs.statistics), "the extractor")
        return self._evidence.extractor()

    def scores(self, name: str, role: Role) -> Scores:
        """A white-box score, when declared for this role."""
        declared = any(score.name == name and role in score.roles for score in self._needs.scores)
        self._require(declared, f"scores '{name}' of '{role}'")
        scores = self._evidence.scores(name, role)
        return Scores(_locked(scores.index), _locked(scores.values))

    def attributes(self, role: Role) -> AttributeLabels:
        """Attribute labels, when declared."""
        self._require(role in self._needs.attributes, f"attribute labels of '{role}'")
        found = self._evidence.attributes(role)
        return dataclasses.replace(found, labels=_locked(found.labels))

    def text_features(self, role: Role) -> NDArray[np.float32]:
        """Features of prompts, when declared."""
        self._require(role in self._needs.text, f"prompts of '{role}'")
        return _locked(self._evidence.text_features(role))

    def mirrored_features(self, role: Role) -> NDArray[np.float32] | None:
        """Features of mirrored images, when declared."""
        self._require(role in self._needs.mirrored, f"mirrored images of '{role}'")
        found = self._evidence.mirrored_features(role)
        return None if found is None else _locked(found)

    def statistics(self) -> FeatureStatistics | None:
        """Reference statistics, when declared."""
        self._require(self._needs.statistics, "reference statistics")
        found = self._evidence.statistics()
        if found is None:
            return None
        return dataclasses.replace(found, mean=_locked(found.mean), covariance=_locked(found.covariance))

    def keep_contributions(
        self, name: str, contributions: Mapping[Role, NDArray[np.float64]], group: str | None = None
    ) -> None:
        """Each must be of a declared role and have one value for every image."""
        for role, values in contributions.items():
            self._require(role in self._declared, f"contributions of '{role}'")
            if values.shape != (len(self._evidence.images(role)),):
                raise EvidenceError(
                    f"{self.check} keeps {values.shape} contributions of {role} to {name}; "
                    f"there are {len(self._evidence.images(role))} images."
                )
        self._evidence.keep_contributions(name, contributions, group)

    def protocol(self) -> Signature:
        """How the samples were made."""
        return self._evidence.protocol()

    def withhold_samples(self, rows: Iterable[int]) -> None:
        """Keep these samples off a card."""
        self._evidence.withhold_samples(rows)

    def private_folder(self) -> Path | None:
        """Where the phantom was told to write, if anywhere."""
        return self._evidence.private_folder()

    def _require(self, declared: bool, what: str) -> None:
        if not declared:
            raise EvidenceError(f"{self.check} asked for {what}, which it did not declare among its needs.")


def _locked(array: NDArray[Any]) -> NDArray[Any]:
    view = array.view()
    view.flags.writeable = False
    return view
