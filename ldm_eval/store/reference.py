"""Reference files: the features and statistics of real images, computed once and shipped without the images.

One npz without pickles. ``mu`` and ``sigma`` (and ``mu_s``, ``sigma_s`` for the spatial Inception features) are where
other FID tools look for them; ``features`` and ``logits`` stand beside them, and ``ldm_eval_reference`` holds what
describes it all, as JSON. The digest covers every byte of it.
"""

from __future__ import annotations

import hashlib
import json
import re
import zipfile
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ldm_eval.api import ExtractorInfo, Features, FeatureStatistics, ImageSet
from ldm_eval.errors import DataError
from ldm_eval.stats.digests import statistics_digest
from ldm_eval.stats.moments import FeatureMoments, feature_moments
from ldm_eval.store.array_archive import ArrayArchive, write_arrays
from ldm_eval.store.atomic import canonical_json

__all__ = ["REFERENCE_VERSION", "Extracted", "Reference", "is_reference", "read_reference", "write_reference"]

REFERENCE_VERSION = 1
HEADER = "ldm_eval_reference"
_SHA256 = re.compile("[0-9a-f]{64}")
_SPATIAL = "inception-2015-spatial"
_MOST_HEADER_BYTES = 1 << 30
_MOST_DIMENSIONS = 1 << 14
_BLOCK = 1 << 24
"""Bytes that are hashed at a time."""


@dataclass(frozen=True, slots=True, eq=False)
class Extracted:
    """What one extractor saw in N images.

    Attributes:
        info: The extractor.
        moments: Mean and covariance of the features, with N.
        features: Feature by feature, or None when the file holds statistics only.
    """

    info: ExtractorInfo
    moments: FeatureMoments
    features: Features | None


@dataclass(frozen=True, slots=True, eq=False)
class Reference:
    """The content of a reference file.

    Attributes:
        path: The file.
        images: The set without its pixels: ``(N, C, 0, 0)``, the digest of the original, and the features that are
            known. Of a file with statistics only it has no ids, and nothing is known of single images.
        image_shape: ``(C, H, W)`` of the original.
        extracted: What each extractor saw; the first one's ``mu`` and ``sigma`` are what other tools read.
        computed_on: Device type, threads and versions behind the features.
        statistics_only: True when the features were left out.
        digest: SHA-256 over everything.
    """

    path: Path
    images: ImageSet
    image_shape: tuple[int, int, int]
    extracted: tuple[Extracted, ...]
    computed_on: Mapping[str, Any]
    statistics_only: bool
    digest: str

    def statistics(self) -> tuple[FeatureStatistics, ...]:
        """Mean and covariance by extractor."""
        return tuple(
            FeatureStatistics(
                str(self.path),
                one.moments.mean,
                one.moments.covariance,
                one.moments.n,
                statistics_digest(one.moments.mean, one.moments.covariance),
                one.info.fingerprint,
            )
            for one in self.extracted
        )


def write_reference(
    path: Path,
    images: ImageSet,
    features: Sequence[tuple[ExtractorInfo, Features]],
    computed_on: Mapping[str, Any],
    *,
    statistics_only: bool = False,
) -> str:
    """Write a reference file atomically; equal content gives equal bytes. Returns its digest.

    Args:
        path: The file.
        images: The set that ``features`` are of, with its pixels' digest and shape.
        features: Extractors and what they saw, row by row in the order of ``images``; may be memory maps.
        computed_on: Device type, threads and versions, as JSON.
        statistics_only: Leave out the features and all that is known of single images.

    Raises:
        DataError: fewer than two images, features of another number or dimension, or features that are not finite.
        StoreError: when it cannot be written.
    """
    arrays: dict[str, NDArray[Any]] = {}
    listed = []
    for position, (info, values) in enumerate(features):
        suffix = "" if not position else "_s" if info.name.startswith(_SPATIAL) else f"_{position}"
        _refuse_other_size(values.values, info, images)
        moments = feature_moments(values.values)
        arrays |= {f"mu{suffix}": moments.mean, f"sigma{suffix}": moments.covariance}
        if not statistics_only:
            arrays[f"features{suffix}"] = values.values
            if values.logits is not None:
                arrays[f"logits{suffix}"] = values.logits
        listed.append({"info": asdict(info), "suffix": suffix, "logits": f"logits{suffix}" in arrays})
    known = {} if statistics_only else _of_single_images(images)
    if images.labels is not None and not statistics_only:
        arrays["labels"] = images.labels
    content = {
        "schema_version": REFERENCE_VERSION,
        "images": {
            "name": images.name,
            "split": images.split,
            "licence": images.licence,
            "digest": images.digest,
            "count": len(images),
            "shape": list(images.shape),
        },
        "known": known,
        "extractors": listed,
        "computed_on": dict(computed_on),
        "statistics_only": statistics_only,
        "arrays": {name: _described(array) for name, array in arrays.items()},
    }
    digest = _digest(content)
    text = canonical_json({**content, "digest": digest}, indent=None).encode()
    write_arrays(path, {HEADER: np.frombuffer(text, np.uint8), **arrays})
    return digest


def _refuse_other_size(values: NDArray[np.float32], info: ExtractorInfo, images: ImageSet) -> None:
    if values.shape != (len(images), info.dimension) or info.dimension > _MOST_DIMENSIONS:
        raise DataError(
            f"Of {len(images)} images, {info.name} gave features {values.shape}; a reference file takes one row of "
            f"{info.dimension} for each, at most {_MOST_DIMENSIONS}."
        )


def _of_single_images(images: ImageSet) -> dict[str, Any]:
    known: dict[str, Any] = {
        "ids": list(images.ids),
        "groups": {name: [str(value) for value in values] for name, values in images.groups.items()},
    }
    if images.prompts is not None:
        known["prompts"] = [str(prompt) for prompt in images.prompts]
    return known


def _digest(content: Mapping[str, Any]) -> str:
    return hashlib.sha256(canonical_json(content, indent=None).encode()).hexdigest()


def _described(array: NDArray[Any]) -> dict[str, Any]:
    return {"dtype": array.dtype.name, "shape": list(array.shape), "sha256": _bytes_digest(array)}


def _bytes_digest(array: NDArray[Any]) -> str:
    digest = hashlib.sha256()
    rows = max(1, _BLOCK // max(1, array[:1].nbytes))
    for start in range(0, len(array), rows):
        block = array[start : start + rows]
        digest.update(np.ascontiguousarray(block, dtype=array.dtype.newbyteorder("<")).data)
    return digest.hexdigest()


def is_reference(path: Path) -> bool:
    """True for a reference file, also one that was cut off; told by its content, of which little is read."""
    name = f"{HEADER}.npy".encode()
    try:
        if not path.is_file():
            return False
        with path.open("rb") as stream:
            begins = stream.read(30 + len(name))
        if begins[:2] != b"PK":
            return False
        if begins[30:] == name:
            return True
        with zipfile.ZipFile(path) as archive:  # saved anew, in another order
            return f"{HEADER}.npy" in archive.namelist()
    except (zipfile.BadZipFile, OSError, EOFError, NotImplementedError, ValueError):
        return False


def read_reference(path: Path) -> Reference:
    """Read a reference file; every digest in it is checked, and features stay on disk as memory maps.

    Raises:
        DataError: when it is none, is cut off, was edited or is of another version.
    """
    if path.is_dir():
        raise DataError(f"'{path}' is a folder; a reference file is one npz, made with `ldm-eval reference`.")
    if not is_reference(path):
        found = "is no reference file" if path.exists() else "does not exist"
        raise DataError(f"'{path}' {found}; `ldm-eval reference DATA --output FILE.npz` makes one.")
    archive = ArrayArchive(path)
    document = _header(archive, path)
    try:
        stated = document.pop("digest")
        edited = _digest(document) != stated
        reference = None if edited else _reference(document, stated, archive, path)
    except (KeyError, TypeError, ValueError, AttributeError, OverflowError) as error:
        raise DataError(
            f"'{path}' is not a reference file that can be read ({type(error).__name__}: {error}). Make it again with "
            "`ldm-eval reference`."
        ) from error
    if reference is None:
        raise DataError(_edited(path, "its description does"))
    return reference


def _edited(path: Path, what: str) -> str:
    return (
        f"'{path}' was changed or damaged after it was written: {what} not have the digest that it states. Copy it "
        "again, or make it again with `ldm-eval reference`."
    )


def _header(archive: ArrayArchive, path: Path) -> dict[str, Any]:
    raw = archive.array(HEADER, "uint8", 1)
    if raw.size > _MOST_HEADER_BYTES:
        raise DataError(f"The description in '{path}' has {raw.size:,} bytes, which no set of images needs.")
    try:
        document = json.loads(raw.tobytes())
    except (ValueError, RecursionError) as error:
        raise DataError(f"The description in '{path}' is no JSON ({error}); copy the file again.") from error
    version = document.get("schema_version") if isinstance(document, dict) else None
    if not isinstance(document, dict) or version != REFERENCE_VERSION:
        raise DataError(
            f"'{path}' is a reference file of version {version!r}, and this ldm-eval reads {REFERENCE_VERSION}. Make "
            "it again with `ldm-eval reference`, or use the ldm-eval that made it."
        )
    return document


def _reference(document: Mapping[str, Any], digest: str, archive: ArrayArchive, path: Path) -> Reference:
    of, known, statistics_only = document["images"], document["known"], document["statistics_only"] is True
    count = int(of["count"])
    channels, height, width = (int(size) for size in of["shape"])
    if count < 2 or channels not in (1, 3):
        raise ValueError(f"{count} images of {channels} channels")
    if not _SHA256.fullmatch(str(of["digest"])):  # a run names files after it
        raise ValueError(f"the digest {of['digest']!r} of the images is none")
    arrays = _Arrays(archive, document["arrays"], path)
    extracted = tuple(_extracted(item, count, arrays, statistics_only) for item in document["extractors"])
    if not extracted:
        raise ValueError("no extractor")
    images = ImageSet(
        name=str(of["name"]),
        split=str(of["split"]),
        pixels=np.zeros((count, channels, 0, 0), np.uint8),
        ids=() if statistics_only else tuple(_texts(known["ids"], count)),
        digest=str(of["digest"]),
        groups={str(name): np.array(_texts(values, count)) for name, values in known.get("groups", {}).items()},
        labels=np.array(arrays.take("labels", "int64", (count,))) if "labels" in document["arrays"] else None,
        licence=str(of["licence"]),
        prompts=np.array(_texts(known["prompts"], count)) if "prompts" in known else None,
        known_features={one.info.fingerprint: one.features for one in extracted if one.features is not None},
    )
    shape = (channels, height, width)
    return Reference(path, images, shape, extracted, dict(document["computed_on"]), statistics_only, digest)


def _texts(values: Sequence[Any], count: int) -> list[str]:
    if len(values) != count or not all(isinstance(value, str) for value in values):
        raise ValueError(f"{len(values)} texts for {count} images")
    return list(values)


def _extracted(item: Mapping[str, Any], count: int, arrays: _Arrays, statistics_only: bool) -> Extracted:
    info, suffix = _info(item["info"]), str(item["suffix"])
    if not 1 <= info.dimension <= _MOST_DIMENSIONS:
        raise ValueError(f"features of {info.dimension} dimensions")
    mean = np.array(arrays.take(f"mu{suffix}", "float64", (info.dimension,)))
    covariance = np.array(arrays.take(f"sigma{suffix}", "float64", (info.dimension, info.dimension)))
    features = None
    if not statistics_only:
        values = arrays.take(f"features{suffix}", "float32", (count, info.dimension))
        logits = arrays.take(f"logits{suffix}", "float32", (count, info.classes or 0)) if item["logits"] else None
        features = Features(values, logits, info.name)
    return Extracted(info, FeatureMoments(mean, covariance, count), features)


def _info(item: Mapping[str, Any]) -> ExtractorInfo:
    return ExtractorInfo(
        name=str(item["name"]),
        fingerprint=str(item["fingerprint"]),
        dimension=int(item["dimension"]),
        classes=None if item["classes"] is None else int(item["classes"]),
        resize=str(item["resize"]),
        licence=str(item["licence"]),
        text=item["text"] is True,
    )


@dataclass(frozen=True, slots=True)
class _Arrays:
    """The arrays of a file beside what its description says of them."""

    archive: ArrayArchive
    described: Mapping[str, Mapping[str, Any]]
    path: Path

    def take(self, name: str, dtype: str, shape: tuple[int, ...]) -> NDArray[Any]:
        """A memory map of one array, whose type, shape and digest are as described. Raises DataError."""
        array = self.archive.array(name, dtype, len(shape))
        if array.shape != shape:
            raise DataError(f"'{name}' in '{self.path}' is {array.shape}; by its description it is {shape}.")
        if _bytes_digest(array) != self.described[name]["sha256"]:
            raise DataError(_edited(self.path, f"'{name}' does"))
        return array
