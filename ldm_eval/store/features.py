"""Features on disk, content-addressed: digest of the images + fingerprint of the extractor, never a file name."""

from __future__ import annotations

import hashlib
import os
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ldm_eval.api import Features
from ldm_eval.store.atomic import read_json, write_array, write_json

__all__ = ["FeatureStore", "StoredFeatures", "default_cache_dir"]


def default_cache_dir() -> Path:
    """``~/.cache/ldm-eval``, or below ``XDG_CACHE_HOME`` where that is set."""
    base = os.environ.get("XDG_CACHE_HOME")
    return (Path(base) if base else Path.home() / ".cache") / "ldm-eval"


@dataclass(frozen=True, slots=True)
class StoredFeatures:
    """Where the arrays of one (images, extractor) lie; ``logits`` is None when the extractor gives none."""

    values: Path
    logits: Path | None


class FeatureStore:
    """Features computed once per (images, extractor, ``computed_on``) and read as memory maps.

    ``computed_on`` names all that decides how sums are rounded: device type, torch version, CPU threads. It is part of
    the key because results must not depend on what ran before: with 1 and with 4 threads the features differ in their
    last bits, and a Fréchet distance of 52.384 in its seventh digit.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def find(self, image_digest: str, fingerprint: str, computed_on: str) -> StoredFeatures | None:
        """The stored arrays, or None when they are missing or do not have their recorded digest."""
        stem = self._stem(image_digest, fingerprint, computed_on)
        record = stem.with_suffix(".json")
        if not record.is_file():
            return None
        try:
            digests = read_json(record)
            stored = StoredFeatures(
                stem.with_suffix(".values.npy"), stem.with_suffix(".logits.npy") if digests["logits"] else None
            )
            intact = _digest(stored.values) == digests["values"] and (
                stored.logits is None or _digest(stored.logits) == digests["logits"]
            )
        except (OSError, KeyError, TypeError):
            return None
        return stored if intact else None

    def put(self, image_digest: str, fingerprint: str, computed_on: str, features: Features) -> StoredFeatures:
        """Store the arrays, the record last. Raises StoreError."""
        stem = self._stem(image_digest, fingerprint, computed_on)
        values = stem.with_suffix(".values.npy")
        _save(values, features.values)
        logits = None
        if features.logits is not None:
            logits = stem.with_suffix(".logits.npy")
            _save(logits, features.logits)
        record = {"values": _digest(values), "logits": _digest(logits) if logits else None}
        write_json(stem.with_suffix(".json"), record)
        return StoredFeatures(values, logits)

    def _stem(self, image_digest: str, fingerprint: str, computed_on: str) -> Path:
        key = hashlib.sha256(f"{image_digest}/{fingerprint}/{computed_on}".encode()).hexdigest()
        return self._folder / key[:2] / key[:40]


def _save(path: Path, array: NDArray[np.float32]) -> None:
    write_array(path, np.ascontiguousarray(array, dtype=np.float32))


def _digest(path: Path) -> str:
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()
