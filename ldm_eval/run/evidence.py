"""Evidence on disk: what the run computed, handed to a check in another process as paths and digests."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, final

import numpy as np
from numpy.typing import NDArray

from ldm_eval.api import (
    AttributeLabels,
    ConfusionCounts,
    Evidence,
    ExtractorInfo,
    ImageSet,
    Needs,
    Role,
    Scalar,
    Scores,
    Signature,
)
from ldm_eval.errors import EvidenceError
from ldm_eval.store.atomic import write_array, write_with

__all__ = ["EvidenceFolder", "StoredEvidence"]


@dataclass(frozen=True, slots=True)
class EvidenceFolder:
    """The files that a run lays out for its checks. Written by the run, read by the worker.

    Attributes:
        folder: ``work/`` of the run folder.
        seed: Seed of the run.
        protocol: How the samples were made.
        roles: Role -> digest of its images; two roles may be the same images.
        features: Image digest -> path of the values.
        logits: Image digest -> path of the logits.
        extractor: ExtractorInfo as JSON, or None when no check needs features.
        private: Folder for private evidence.
    """

    folder: str
    seed: int
    protocol: Mapping[str, Any]
    roles: Mapping[Role, str]
    features: Mapping[str, str]
    logits: Mapping[str, str]
    extractor: Mapping[str, Any] | None
    private: str

    def save_images(self, images: ImageSet) -> None:
        """Lay out one set: pixels as ``.npy`` (memory-mapped by the worker) and what is known of each image."""
        folder = self.path("images")
        write_array(folder / f"{images.digest}.npy", images.pixels)
        known: dict[str, Any] = {f"group:{name}": np.asarray(v, dtype=str) for name, v in images.groups.items()}
        labels = np.zeros(0, dtype=np.int64) if images.labels is None else images.labels
        text = np.array([images.name, images.split, images.licence])
        ids = np.array(images.ids)
        path = folder / f"{images.digest}.npz"
        write_with(path, lambda stream: np.savez(stream, ids=ids, labels=labels, text=text, **known))

    def images(self, role: Role) -> ImageSet:
        """Read back the set in ``role``."""
        digest = self.roles[role]
        folder = self.path("images")
        pixels = np.load(folder / f"{digest}.npy", mmap_mode="r", allow_pickle=False)
        with np.load(folder / f"{digest}.npz", allow_pickle=False) as known:
            name, split, licence = (str(item) for item in known["text"])
            groups = {key[len("group:") :]: known[key] for key in known.files if key.startswith("group:")}
            labels = known["labels"] if known["labels"].size else None
            ids = tuple(str(item) for item in known["ids"])
        return ImageSet(name, split, pixels, ids, digest, groups, labels, licence)

    def score_path(self, name: str, role: Role) -> Path:
        """Where the white-box score ``name`` of ``role`` lies."""
        return self.path("scores") / f"{name}-{self.roles[role]}.npz"

    def attribute_path(self, role: Role) -> Path:
        """Where the attribute labels of ``role`` lie."""
        return self.path("attributes") / f"{self.roles[role]}.npz"

    def save_attributes(self, role: Role, labels: AttributeLabels) -> None:
        """Lay out the attribute labels of ``role``."""
        confusion = labels.confusion
        arrays: dict[str, Any] = {
            "labels": np.asarray(labels.labels, dtype=str),
            "text": np.array([labels.attribute, labels.classifier, labels.limits, confusion.source]),
            "classes": np.array(confusion.classes),
            "counts": np.array(confusion.counts, dtype=np.int64),
            "declared_names": np.array(list(labels.declared), dtype=str),
            "declared_shares": np.array(list(labels.declared.values()), dtype=np.float64),
        }
        write_with(self.attribute_path(role), lambda stream: np.savez(stream, **arrays))

    def attributes(self, role: Role) -> AttributeLabels:
        """Read the attribute labels of ``role`` back."""
        with np.load(self.attribute_path(role), allow_pickle=False) as stored:
            attribute, classifier, limits, source = (str(item) for item in stored["text"])
            counts = tuple(tuple(int(count) for count in row) for row in stored["counts"])
            confusion = ConfusionCounts(tuple(str(name) for name in stored["classes"]), counts, source)
            names = [str(name) for name in stored["declared_names"]]
            declared = dict(zip(names, (float(share) for share in stored["declared_shares"]), strict=True))
            return AttributeLabels(attribute, classifier, limits, stored["labels"], confusion, declared)

    def path(self, name: str) -> Path:
        """A file or folder below the evidence folder."""
        return Path(self.folder) / name


@final
class StoredEvidence(Evidence):
    """Evidence of a real run for one check; it can read what the check declared in its needs, and nothing else."""

    def __init__(self, folder: EvidenceFolder, check: str, needs: Needs, parameters: Mapping[str, Scalar]) -> None:
        self.check = check
        self.seed = folder.seed
        self.parameters = parameters
        self._folder = folder
        self._needs = needs
        declared = {*needs.roles, *needs.optional, *needs.features, *needs.logits, *needs.attributes}
        for score in needs.scores:
            declared.update(score.roles)
        if needs.samples:
            declared.add("samples")
        self._declared = frozenset(declared)

    def has(self, role: Role) -> bool:
        """True when the run has images in this role."""
        return role in self._folder.roles

    def images(self, role: Role) -> ImageSet:
        """The images in this role."""
        self._require(role, self._declared, "images")
        return self._folder.images(role)

    def features(self, role: Role) -> NDArray[np.float32]:
        """``(N, D) float32`` as a memory map."""
        self._require(role, self._declared if self._needs.features else (), "features")
        return self._load(self._folder.features, role, "features")

    def logits(self, role: Role) -> NDArray[np.float32]:
        """``(N, K) float32`` as a memory map."""
        self._require(role, self._needs.logits, "logits")
        return self._load(self._folder.logits, role, "logits")

    def extractor(self) -> ExtractorInfo:
        """The run's extractor."""
        if self._folder.extractor is None:
            raise EvidenceError(f"{self.check} asked for the extractor, but declared no features among its needs.")
        return ExtractorInfo(**self._folder.extractor)

    def scores(self, name: str, role: Role) -> Scores:
        """A white-box score."""
        self._require(role, next((s.roles for s in self._needs.scores if s.name == name), ()), f"scores '{name}'")
        with np.load(self._folder.score_path(name, role), allow_pickle=False) as stored:
            return Scores(stored["index"], stored["values"])

    def attributes(self, role: Role) -> AttributeLabels:
        """Attribute labels of this role."""
        self._require(role, self._needs.attributes, "attributes")
        return self._folder.attributes(role)

    def protocol(self) -> Signature:
        """How the samples were made."""
        return dict(self._folder.protocol)

    def private_folder(self) -> Path | None:
        """A folder of this check's own below ``private/``; made when asked for."""
        folder = Path(self._folder.private) / self.check.replace("/", "-")
        folder.mkdir(parents=True, exist_ok=True)
        return folder

    def _require(self, role: Role, declared: object, what: str) -> None:
        if not isinstance(declared, tuple | frozenset) or role not in declared:
            raise EvidenceError(f"{self.check} asked for {what} of '{role}', which it did not declare among its needs.")
        if not self.has(role):
            raise EvidenceError(f"{self.check} asked for {what} of '{role}', but this run has no such images.")

    def _load(self, paths: Mapping[str, str], role: Role, what: str) -> NDArray[np.float32]:
        path = paths.get(self._folder.roles[role])
        if path is None:
            raise EvidenceError(f"{self.check} asked for {what} of '{role}', which were not computed for this run.")
        array: NDArray[np.float32] = np.load(path, mmap_mode="r", allow_pickle=False)
        return array
