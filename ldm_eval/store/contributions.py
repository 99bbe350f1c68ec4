"""What each image contributed to each measurement of a check, kept to compare models image by image."""

from __future__ import annotations

import hashlib
import json
import zipfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ldm_eval.api import ROLES, Role
from ldm_eval.errors import StoreError
from ldm_eval.store.atomic import write_with

__all__ = [
    "FOLDER",
    "Contribution",
    "contribution_digests",
    "contributions_path",
    "load_contributions",
    "save_contributions",
]

FOLDER = "contributions"
"""Its name in a run folder."""


@dataclass(frozen=True, slots=True, eq=False)
class Contribution:
    """The influence of every image of one role on one measurement.

    Attributes:
        name: Name of the measurement.
        group: Its group, or None.
        role: Whose images.
        values: ``(n,) float32``, centred, in the order of the images; NaN where an image was not used.
    """

    name: str
    group: str | None
    role: Role
    values: NDArray[np.float32]


def contributions_path(folder: Path, check: str) -> Path:
    """The file of ``check`` in the contributions folder of a run."""
    return folder / f"{check.replace('/', '-')}.npz"


def contribution_digests(run_folder: Path) -> dict[str, str]:
    """``contributions/<check>.npz`` -> SHA-256 of the file, for everything that a run kept."""
    files = sorted((run_folder / FOLDER).glob("*.npz"))
    return {f"{FOLDER}/{file.name}": hashlib.sha256(file.read_bytes()).hexdigest() for file in files}


def save_contributions(path: Path, kept: Sequence[Contribution]) -> None:
    """Write them; the same contributions give the same bytes. Raises StoreError."""
    index = [{"name": one.name, "group": one.group, "role": one.role} for one in kept]
    arrays = {f"values_{number}": np.asarray(one.values, dtype=np.float32) for number, one in enumerate(kept)}
    path.parent.mkdir(parents=True, exist_ok=True)
    write_with(path, lambda stream: np.savez(stream, index=np.array(json.dumps(index)), **arrays))  # type: ignore[arg-type]


def load_contributions(path: Path) -> tuple[Contribution, ...]:
    """Read them back; nothing when there is no file.

    Raises:
        StoreError: the file is not one that ``save_contributions`` wrote.
    """
    if not path.is_file():
        return ()
    try:
        with path.open("rb") as stream, np.load(stream, allow_pickle=False) as stored:
            index = json.loads(str(stored["index"]))
            return tuple(_read(entry, stored[f"values_{number}"]) for number, entry in enumerate(index))
    except (OSError, ValueError, KeyError, TypeError, EOFError, zipfile.BadZipFile) as error:
        raise StoreError(f"{path} does not hold contributions as a run writes them ({error}).") from error


def _read(entry: dict[str, str | None], values: NDArray[np.float32]) -> Contribution:
    role = next((role for role in ROLES if role == entry["role"]), None)
    if role is None or values.dtype != np.float32 or values.ndim != 1:
        raise ValueError(f"{values.dtype} {values.shape}")
    return Contribution(str(entry["name"]), entry["group"], role, values)
