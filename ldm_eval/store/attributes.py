"""The labels that an attribute classifier gave to one set of images, as a file."""

from __future__ import annotations

import zipfile
from pathlib import Path
from typing import Any

import numpy as np

from ldm_eval.api import AttributeLabels, ConfusionCounts
from ldm_eval.errors import StoreError
from ldm_eval.store.atomic import write_with

__all__ = ["kept_labels", "load_labels", "save_labels"]


def kept_labels(private: Path, digest: str) -> Path:
    """Where a run keeps the labels of its samples: private, for they are labels of single images."""
    return private / "attributes" / f"samples-{digest[:16]}.npz"


def save_labels(path: Path, labels: AttributeLabels) -> None:
    """Write ``labels`` as an npz without pickles. Raises StoreError."""
    confusion = labels.confusion
    arrays: dict[str, Any] = {
        "labels": np.asarray(labels.labels, dtype=str),
        "text": np.array([labels.attribute, labels.classifier, labels.limits, confusion.source]),
        "classes": np.array(confusion.classes),
        "counts": np.array(confusion.counts, dtype=np.int64),
        "declared_names": np.array(list(labels.declared), dtype=str),
        "declared_shares": np.array(list(labels.declared.values()), dtype=np.float64),
    }
    write_with(path, lambda stream: np.savez(stream, **arrays))


def load_labels(path: Path) -> AttributeLabels:
    """The inverse of ``save_labels``.

    Raises:
        StoreError: when the file is missing or damaged.
    """
    try:
        with path.open("rb") as stream, np.load(stream, allow_pickle=False) as stored:
            attribute, classifier, limits, source = (str(item) for item in stored["text"])
            counts = tuple(tuple(int(count) for count in row) for row in stored["counts"])
            confusion = ConfusionCounts(tuple(str(name) for name in stored["classes"]), counts, source)
            names = [str(name) for name in stored["declared_names"]]
            declared = dict(zip(names, (float(share) for share in stored["declared_shares"]), strict=True))
            return AttributeLabels(attribute, classifier, limits, stored["labels"], confusion, declared)
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile) as error:
        raise StoreError(f"{path} cannot be read ({error}); run again with --no-resume.") from error
