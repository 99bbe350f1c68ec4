"""White-box scores image by image, kept in the private folder of a run for whoever computes the rest again."""

from __future__ import annotations

import hashlib
import json
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ldm_eval.api import ROLES, Role, Scalar
from ldm_eval.errors import StoreError
from ldm_eval.store.atomic import write_with

__all__ = ["KeptScores", "load_scores", "save_scores", "score_digests"]

_FOLDER = Path("private") / "scores"


@dataclass(frozen=True, slots=True, eq=False)
class KeptScores:
    """One score of one set of images.

    Attributes:
        name: Of the score, e.g. ``"denoising_loss"``.
        role: Whose images.
        digest: Of the whole set.
        parameters: What the score was computed with.
        index: ``(N,) int64`` rows of the set that were scored.
        ids: Their N identifiers.
        values: ``(N, K) float32``.
        seed: Of the run.
        model: SHA-256 of the weights that gave the scores.
        prompts: SHA-256 of the prompts of the whole set, where they were scored with it; else empty.
    """

    name: str
    role: Role
    digest: str
    parameters: Mapping[str, Scalar]
    index: NDArray[np.int64]
    ids: tuple[str, ...]
    values: NDArray[np.float32]
    seed: int
    model: str
    prompts: str = ""


def save_scores(path: Path, kept: KeptScores) -> None:
    """Write them; the same scores give the same bytes. Raises StoreError."""
    about = {
        "name": kept.name,
        "role": kept.role,
        "digest": kept.digest,
        "parameters": dict(kept.parameters),
        "seed": kept.seed,
        "model": kept.model,
        "prompts": kept.prompts,
    }
    text, ids = np.array(json.dumps(about, sort_keys=True)), np.array(kept.ids, dtype=str)
    arrays: dict[str, Any] = {"about": text, "index": kept.index, "ids": ids, "values": kept.values}
    path.parent.mkdir(parents=True, exist_ok=True)
    write_with(path, lambda stream: np.savez(stream, sha256=np.array(_checksum(arrays)), **arrays))


def _checksum(arrays: Mapping[str, NDArray[Any]]) -> str:
    """SHA-256 of all that the file holds: who alters a number by accident is told."""
    digest = hashlib.sha256()
    for name in sorted(arrays):
        array = np.ascontiguousarray(arrays[name])
        digest.update(f"{name} {array.dtype.str} {array.shape}\n".encode())
        digest.update(array.tobytes())
    return digest.hexdigest()


def score_digests(folder: Path) -> dict[str, str]:
    """SHA-256 of every file of scores that a run keeps, by its path below the run's folder."""
    files = sorted((folder / _FOLDER).glob("*.npz"))
    return {(_FOLDER / path.name).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


def load_scores(path: Path) -> KeptScores:
    """Read them back.

    Raises:
        StoreError: no such file, not one that ``save_scores`` wrote, or altered since.
    """
    try:
        with path.open("rb") as stream, np.load(stream, allow_pickle=False) as stored:
            arrays = {name: stored[name] for name in ("about", "ids", "index", "values")}
            checksum = str(stored["sha256"])
        about = json.loads(str(arrays["about"]))
        index, values = arrays["index"], arrays["values"]
        ids = tuple(str(one) for one in arrays["ids"])
        role = next(role for role in ROLES if role == about["role"])
        if values.ndim != 2 or not len(index) == len(ids) == len(values):
            raise ValueError(f"{index.shape} rows, {len(ids)} ids, {values.shape} values")
        if _checksum(arrays) != checksum:
            raise ValueError("it was altered after it was written")
        said = (about["name"], role, about["digest"], about["parameters"])
        kept = KeptScores(*said, index, ids, values, about["seed"], about["model"], about["prompts"])
    except FileNotFoundError as error:
        raise StoreError(f"There are no scores in {path}.") from error
    except (OSError, ValueError, KeyError, TypeError, EOFError, StopIteration, zipfile.BadZipFile) as error:
        raise StoreError(f"{path} does not hold scores as a run writes them ({error}).") from error
    return kept
