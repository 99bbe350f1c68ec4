"""A folder of pictures."""

from __future__ import annotations

import os
from pathlib import Path

from ldm_eval.api import ImageSet
from ldm_eval.errors import DataError
from ldm_eval.stats.digests import image_digest
from ldm_eval_images.gathering import gather
from ldm_eval_images.labels import read_annotations
from ldm_eval_images.pictures import SUFFIXES, is_picture_name

LABELS = "labels.csv"


def picture_names(folder: Path) -> list[str]:
    """Names of all pictures below ``folder``, relative with forward slashes, sorted by name."""
    names = []
    for root, folders, files in os.walk(folder):
        folders[:] = [name for name in folders if not name.startswith(".")]
        names += [(Path(root) / file).relative_to(folder).as_posix() for file in files if is_picture_name(file)]
    return sorted(names)


def holds_a_picture(folder: Path) -> bool:
    """True when there is at least one picture below ``folder``; stops at the first."""
    return any(is_picture_name(file) for _, _, files in os.walk(folder) for file in files)


def read_folder(folder: Path) -> ImageSet:
    """Read every picture below ``folder``; ids are their relative names, ``labels.csv`` in it is optional.

    Raises:
        DataError: no folder, no pictures, a picture that cannot be used, or mixed sizes.
    """
    if not folder.is_dir():
        raise DataError(f"There is no folder '{folder}'. Give a folder of pictures, a zip or an npz file.")
    names = picture_names(folder)
    if not names:
        files = sum(len(files) for _, _, files in os.walk(folder))
        raise DataError(f"'{folder}' holds no pictures (files found: {files}). Pictures end in {', '.join(SUFFIXES)}.")
    pixels = gather(names, lambda name: folder / name)
    notes = read_annotations(folder / LABELS, names)
    return ImageSet(
        name=folder.resolve().name,
        split="",
        pixels=pixels,
        ids=tuple(names),
        digest=image_digest(pixels),
        groups=notes.groups,
        labels=notes.labels,
        prompts=notes.prompts,
    )
