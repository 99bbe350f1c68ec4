"""Evidence on disk: what the run computed, handed to a check in another process as paths and digests."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
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
    Scalar,
    Scores,
    Signature,
)
from ldm_eval.errors import EvidenceError
from ldm_eval.store.atomic import write_array, write_with
from ldm_eval.store.attributes import load_labels, save_labels
from ldm_eval.store.contributions import Contribution
from ldm_eval.store.scores import load_scores
from ldm_eval.store.statistics import read_statistics
from ldm_eval.store.withheld import write_withheld

__all__ = ["EvidenceFolder", "Space", "StoredEvidence"]


@dataclass(frozen=True, slots=True)
class Space:
    """The features of one extractor.

    Attributes:
        extractor: ExtractorInfo as JSON.
        features: Image digest -> path of the values.
        logits: Image digest -> path of the logits.
        text: Role -> path of the features of its prompts.
        mirrored: Role -> path of the features of its mirrored images.
    """

    extractor: Mapping[str, Any]
    features: Mapping[str, str] = field(default_factory=dict)
    logits: Mapping[str, str] = field(default_factory=dict)
    text: Mapping[Role, str] = field(default_factory=dict)
    mirrored: Mapping[Role, str] = field(default_factory=dict)

    @property
    def info(self) -> ExtractorInfo:
        """What a measurement says about the extractor."""
        return ExtractorInfo(**self.extractor)


@dataclass(frozen=True, slots=True)
class EvidenceFolder:
    """The files that a run lays out for its checks. Written by the run, read by the worker.

    Attributes:
        folder: ``work/`` of the run folder.
        seed: Seed of the run.
        protocol: How the samples were made.
        roles: Role -> digest of its images; two roles may be the same images.
        spaces: One for each extractor, the run's own first; none when no check needs features.
        private: Folder for private evidence.
        contributions: Folder for what each image contributes to each measurement.
        statistics: File of reference statistics, or an empty string.
    """

    folder: str
    seed: int
    protocol: Mapping[str, Any]
    roles: Mapping[Role, str]
    spaces: tuple[Space, ...]
    private: str
    contributions: str
    statistics: str = ""

    @classmethod
    def from_json(cls, item: Mapping[str, Any]) -> EvidenceFolder:
        """The inverse of ``dataclasses.asdict`` after a way through JSON."""
        return cls(**{**item, "spaces": tuple(Space(**space) for space in item["spaces"])})

    def save_images(self, images: ImageSet) -> None:
        """Lay out one set: pixels as ``.npy`` (memory-mapped by the worker) and what is known of each image."""
        folder = self.path("images")
        write_array(folder / f"{images.digest}.npy", images.pixels)
        known: dict[str, Any] = {f"group:{name}": np.asarray(v, dtype=str) for name, v in images.groups.items()}
        labels = np.zeros(0, dtype=np.int64) if images.labels is None else images.labels
        if images.prompts is not None:
            known["prompts"] = np.asarray(images.prompts, dtype=str)
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
            prompts = known["prompts"] if "prompts" in known.files else None
        return ImageSet(name, split, pixels, ids, digest, groups, labels, licence, prompts)

    def score_path(self, name: str, role: Role) -> Path:
        """Where the white-box score ``name`` of ``role`` lies: it is private, for it names training images."""
        return Path(self.private) / "scores" / f"{name}-{role}-{self.roles[role][:16]}.npz"

    def attribute_path(self, role: Role) -> Path:
        """Where the attribute labels of ``role`` lie."""
        return self.path("attributes") / f"{self.roles[role]}.npz"

    def save_attributes(self, role: Role, labels: AttributeLabels) -> None:
        """Lay out the attribute labels of ``role``."""
        save_labels(self.attribute_path(role), labels)

    def attributes(self, role: Role) -> AttributeLabels:
        """Read the attribute labels of ``role`` back."""
        return load_labels(self.attribute_path(role))

    def path(self, name: str) -> Path:
        """A file or folder below the evidence folder."""
        return Path(self.folder) / name


@final
class StoredEvidence(Evidence):
    """Evidence of a real run for one check; it can read what the check declared in its needs, and nothing else."""

    def __init__(
        self,
        folder: EvidenceFolder,
        check: str,
        needs: Needs,
        parameters: Mapping[str, Scalar],
        space: Space | None = None,
        on_progress: Callable[[int, int], None] | None = None,
    ) -> None:
        self.check = check
        self.seed = folder.seed
        self.parameters = parameters
        self._folder = folder
        self._needs = needs
        self._space = space
        self._on_progress = on_progress
        self.kept: list[Contribution] = []
        """What the check kept of the contributions of single images."""
        declared = {
            *needs.roles,
            *needs.pixels,
            *needs.text,
            *needs.optional,
            *needs.features,
            *needs.logits,
            *needs.attributes,
        }
        for score in needs.scores:
            declared.update(score.roles)
        if needs.samples:
            declared.add("samples")
        self._declared = frozenset(declared)

    def has(self, role: Role) -> bool:
        """True when the run has what the check may read of this role: images, or features alone where those will do."""
        if role not in self._folder.roles:
            return False
        needs = self._needs
        features_do = needs.features and role not in needs.pixels
        return bool(features_do) or self._folder.images(role).has_pixels

    def images(self, role: Role) -> ImageSet:
        """The images in this role."""
        self._require(role, self._declared, "images")
        return self._folder.images(role)

    def features(self, role: Role) -> NDArray[np.float32]:
        """``(N, D) float32`` as a memory map."""
        self._require(role, self._declared if self._needs.features else (), "features")
        return self._load(self._of_space().features, role, "features")

    def logits(self, role: Role) -> NDArray[np.float32]:
        """``(N, K) float32`` as a memory map."""
        self._require(role, self._needs.logits, "logits")
        return self._load(self._of_space().logits, role, "logits")

    def extractor(self) -> ExtractorInfo:
        """The extractor that the check is run with."""
        return self._of_space().info

    def text_features(self, role: Role) -> NDArray[np.float32]:
        """``(N, D) float32`` features of the prompts, as a memory map."""
        self._require(role, self._needs.text, "prompts")
        path = self._of_space().text.get(role)
        if path is None:
            raise EvidenceError(f"{self.check} asked for prompts of '{role}', which were not embedded for this run.")
        array: NDArray[np.float32] = np.load(path, mmap_mode="r", allow_pickle=False)
        return array

    def mirrored_features(self, role: Role) -> NDArray[np.float32] | None:
        """``(N, D) float32`` as a memory map, or None for a set that came as features alone."""
        self._require(role, self._needs.mirrored, "mirrored images")
        path = self._of_space().mirrored.get(role)
        if path is None:
            return None
        array: NDArray[np.float32] = np.load(path, mmap_mode="r", allow_pickle=False)
        return array

    def statistics(self) -> FeatureStatistics | None:
        """The statistics of the dimension of the extractor, or None."""
        if not (self._needs.statistics and self._folder.statistics):
            raise EvidenceError(f"{self.check} asked for reference statistics, and none were declared or given.")
        dimension = self.extractor().dimension
        found = read_statistics(Path(self._folder.statistics))
        return next((one for one in found if len(one.mean) == dimension), None)

    def keep_contributions(
        self, name: str, contributions: Mapping[Role, NDArray[np.float64]], group: str | None = None
    ) -> None:
        """Collect them in ``kept``; the run writes them when the check has ended well."""
        for role, values in contributions.items():
            self._require(role, self._declared, "contributions")
            self.kept.append(Contribution(name, group, role, np.asarray(values, dtype=np.float32)))

    def scores(self, name: str, role: Role) -> Scores:
        """A white-box score."""
        self._require(role, next((s.roles for s in self._needs.scores if s.name == name), ()), f"scores '{name}'")
        kept = load_scores(self._folder.score_path(name, role))
        return Scores(kept.index, kept.values)

    def attributes(self, role: Role) -> AttributeLabels:
        """Attribute labels of this role."""
        self._require(role, self._needs.attributes, "attributes")
        return self._folder.attributes(role)

    def progress(self, done: int, total: int) -> None:
        """Tell the run, which shows it and waits on."""
        if self._on_progress is not None:
            self._on_progress(done, total)

    def protocol(self) -> Signature:
        """How the samples were made."""
        return dict(self._folder.protocol)

    def private_folder(self) -> Path | None:
        """A folder of this check's own below ``private/``; made when asked for."""
        folder = Path(self._folder.private) / self.check.replace("/", "-")
        folder.mkdir(parents=True, exist_ok=True)
        return folder

    def withhold_samples(self, rows: Iterable[int]) -> None:
        """Write them into this check's private folder, where the report looks."""
        folder = self.private_folder()
        if folder is not None:
            write_withheld(folder, rows)

    def _of_space(self) -> Space:
        if self._space is None:
            raise EvidenceError(f"{self.check} asked for the extractor, but declared no features among its needs.")
        return self._space

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
