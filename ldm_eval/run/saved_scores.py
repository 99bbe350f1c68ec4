"""Scores of single images that an earlier run kept, taken instead of computed: ``--scores DIR``.

Whoever has the images and these files, but not the checkpoint, measures again what was measured from the inside of the
model. A file is taken only for the very images, parameters and seed that it was computed with; which model gave it is
read from it, and compared where the model at hand shows its inside.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ldm_eval.api import CheckSpec, ImageSet, LoadedModel, Role, ScoreSpec
from ldm_eval.diffusion.randomness import derived_seed
from ldm_eval.errors import DataError, StoreError
from ldm_eval.stats.resampling import subset
from ldm_eval.store.atomic import canonical_json, write_bytes
from ldm_eval.store.scores import KeptScores, load_scores

__all__ = [
    "SavedScores",
    "find_saved_scores",
    "prompts_digest",
    "scored_rows",
    "take_scores",
    "taken_digests",
]

Key = tuple[str, Role]


@dataclass(frozen=True, slots=True)
class SavedScores:
    """What of ``--scores`` can be taken.

    Attributes:
        given: True when ``--scores`` was given at all.
        taken: (score, role) -> file that holds it.
        refused: (score, role) -> why the file of that name cannot be taken.
        model: SHA-256 of the weights behind all that are taken; empty when none are.
    """

    given: bool = False
    taken: Mapping[Key, str] = field(default_factory=dict)
    refused: Mapping[Key, str] = field(default_factory=dict)
    model: str = ""


def scored_rows(count: int, most: int, seed: int, role: Role) -> NDArray[np.int64]:
    """Which rows of a set are scored.

    At random: a folder is read in the order of its names, and its first images may be one class or one person.
    """
    generator = np.random.default_rng(derived_seed(seed, f"scored images of {role}"))
    return np.asarray(subset(count, most, generator), dtype=np.int64)


def prompts_digest(prompts: NDArray[np.str_] | None) -> str:
    """SHA-256 of the prompts of a set; empty for None."""
    if prompts is None:
        return ""
    return hashlib.sha256(canonical_json([str(one) for one in prompts], indent=None).encode()).hexdigest()


def find_saved_scores(
    folder: str, checks: Sequence[CheckSpec], sets: Mapping[Role, ImageSet], seed: int, model: LoadedModel
) -> SavedScores:
    """Look which scores of these checks can be taken from the folder; samples are always scored anew.

    Args:
        folder: ``private/scores`` of an earlier run, or that run's folder; empty: none was given.
        checks: Checks asked for.
        sets: Real images by role.
        seed: Seed of the run.
        model: The model; its weights must be those behind the scores where it shows its inside.

    Raises:
        DataError: no such folder, no scores in it, a file that was altered, or scores of several models.
    """
    if not folder:
        return SavedScores()
    files = _read(folder)
    weights = model.identity.sha256 if model.white_box() is not None else ""
    taken: dict[Key, tuple[Path, KeptScores]] = {}
    refused: dict[Key, str] = {}
    for spec in (score for check in checks for score in check.needs.scores):
        for role in spec.roles:
            named = [(path, kept) for path, kept in files if (kept.name, kept.role) == (spec.name, role)]
            for path, kept in named if role in sets else ():
                reason = _unfit(kept, spec, sets[role], seed, weights)
                if not reason:
                    taken[spec.name, role] = (path, kept)
                    break
                refused[spec.name, role] = f"--scores {path.name} cannot be taken: {reason}"
    models = {kept.model for _, kept in taken.values()}
    if len(models) > 1:
        raise DataError(
            f"--scores {folder}: scores of {len(models)} models ({', '.join(sorted(one[:12] for one in models))}) fit "
            "these images; keep one model's files in a folder."
        )
    refused = {key: reason for key, reason in refused.items() if key not in taken}
    return SavedScores(True, {key: str(path) for key, (path, _) in taken.items()}, refused, next(iter(models), ""))


def _read(folder: str) -> list[tuple[Path, KeptScores]]:
    named = Path(folder).expanduser()
    below = named / "private" / "scores"
    paths = sorted((below if below.is_dir() else named).glob("*.npz"))
    if not paths:
        raise DataError(
            f"--scores {folder}: found no scores (*.npz) there; name the folder private/scores of an earlier run."
        )
    try:
        return [(path.resolve(), load_scores(path)) for path in paths]
    except StoreError as error:  # a file that the user names is input, not a folder of ours
        raise DataError(f"--scores {folder}: {error}") from error


def _unfit(kept: KeptScores, spec: ScoreSpec, images: ImageSet, seed: int, weights: str) -> str:
    """Why these are not the scores that would be computed; empty when they are."""
    if kept.digest != images.digest:
        return (
            f"it is about other {kept.role} images (digest {kept.digest[:12]}, these have {images.digest[:12]}); give "
            "the set of the run that kept it, whole and in the same order"
        )
    if dict(kept.parameters) != dict(spec.parameters):
        return f"it was computed with {_said(kept.parameters)}; this check asks for {_said(spec.parameters)}"
    if kept.seed != seed:
        return f"it was computed with --seed {kept.seed}; this run has --seed {seed}"
    if weights and kept.model != weights:
        return f"it is of another model (SHA-256 {kept.model[:12]}, this one has {weights[:12]})"
    if not np.array_equal(kept.index, scored_rows(len(images), spec.max_images, seed, kept.role)):
        return f"it holds {len(kept.index)} other images than the {min(spec.max_images, len(images))} that are scored"
    if spec.prompts and kept.prompts != prompts_digest(images.prompts):
        return f"it was computed with other prompts of the {kept.role} images"
    return ""


def _said(parameters: Mapping[str, object]) -> str:
    return ", ".join(f"{name} {parameters[name]}" for name in sorted(parameters)) or "no parameters"


def take_scores(saved: str, path: Path) -> None:
    """Copy a file of scores into this run. Raises StoreError when it cannot be read or written."""
    try:
        content = Path(saved).read_bytes()
    except OSError as error:
        raise StoreError(f"--scores: cannot read {saved}: {error.strerror or error}.") from error
    path.parent.mkdir(parents=True, exist_ok=True)
    write_bytes(path, content)


def taken_digests(taken: Iterable[str]) -> list[str]:
    """SHA-256 of the files that are taken, sorted: what decides the numbers besides the settings."""
    return sorted(hashlib.sha256(Path(path).read_bytes()).hexdigest() for path in taken)
