"""White-box scores image by image, kept in the private folder of a run for whoever computes the rest again."""

from __future__ import annotations

import json
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ldm_eval.api import ROLES, Role, Scalar
from ldm_eval.errors import StoreError
from ldm_eval.store.atomic import write_with

__all__ = ["KeptScores", "load_scores", "save_scores"]


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
    """

    name: str
    role: Role
    digest: str
    parameters: Mapping[str, Scalar]
    index: NDArray[np.int64]
    ids: tuple[str, ...]
    values: NDArray[np.float32]


def save_scores(path: Path, kept: KeptScores) -> None:
    """Write them; the same scores give the same bytes. Raises StoreError."""
    about = {"name": kept.name, "role": kept.role, "digest": kept.digest, "parameters": dict(kept.parameters)}
    text, ids = np.array(json.dumps(about, sort_keys=True)), np.array(kept.ids, dtype=str)
    path.parent.mkdir(parents=True, exist_ok=True)
    write_with(path, lambda stream: np.savez(stream, about=text, index=kept.index, ids=ids, values=kept.values))


def load_scores(path: Path) -> KeptScores:
    """Read them back.

    Raises:
        StoreError: no such file, or not one that ``save_scores`` wrote.
    """
    try:
        with path.open("rb") as stream, np.load(stream, allow_pickle=False) as stored:
            about = json.loads(str(stored["about"]))
            index, values = stored["index"], stored["values"]
            ids = tuple(str(one) for one in stored["ids"])
        role = next(role for role in ROLES if role == about["role"])
        if values.ndim != 2 or not len(index) == len(ids) == len(values):
            raise ValueError(f"{index.shape} rows, {len(ids)} ids, {values.shape} values")
        kept = KeptScores(about["name"], role, about["digest"], about["parameters"], index, ids, values)
    except FileNotFoundError as error:
        raise StoreError(f"There are no scores in {path}.") from error
    except (OSError, ValueError, KeyError, TypeError, EOFError, StopIteration, zipfile.BadZipFile) as error:
        raise StoreError(f"{path} does not hold scores as a run writes them ({error}).") from error
    return kept
