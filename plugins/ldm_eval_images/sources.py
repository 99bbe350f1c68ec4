"""Which kind of images a reference names, told by its content; nothing is executed or unpacked."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from ldm_eval.api import DataRef, ImageSet
from ldm_eval.errors import DataError
from ldm_eval_images.arrays import holds_arrays, read_npz
from ldm_eval_images.folder import holds_a_picture, read_folder
from ldm_eval_images.zipped import holds_pictures, read_zip

SURE = 0.9
BY_NAME = 0.4
"""The name says so and the content does not (an empty folder, a truncated file): ours, to explain what is wrong."""
SOMEBODY_ELSES = 0.1
"""A folder of pictures that is also a saved pipeline."""


def folder_confidence(path: Path) -> float:
    """0..1, how surely ``path`` is a folder of pictures."""
    if not path.is_dir():
        return 0.0
    if (path / "model_index.json").exists():
        return SOMEBODY_ELSES
    return SURE if holds_a_picture(path) else BY_NAME


def zip_confidence(path: Path) -> float:
    """0..1, how surely ``path`` is a zip of pictures."""
    if not path.is_file():
        return 0.0
    return SURE if holds_pictures(path) else BY_NAME * (path.suffix.lower() == ".zip")


def npz_confidence(path: Path) -> float:
    """0..1, how surely ``path`` is an npz file of images."""
    if not path.is_file():
        return 0.0
    return SURE if holds_arrays(path) else BY_NAME * (path.suffix.lower() == ".npz")


_READERS: dict[str, tuple[Callable[[Path], float], Callable[[Path], ImageSet]]] = {
    "folder": (folder_confidence, read_folder),
    "zip": (zip_confidence, read_zip),
    "npz": (npz_confidence, read_npz),
}


def confidence(path: Path) -> float:
    """0..1, how surely ``path`` holds finished images in any of the formats."""
    return max(judge(path) for judge, _ in _READERS.values())


def read_images(path: Path) -> ImageSet:
    """Read finished images in whichever format they are.

    Raises:
        DataError: nothing there, no known format, or the images cannot be used.
    """
    if not path.exists():
        raise DataError(f"There is nothing at '{path}'. Give a folder of pictures, a zip or an npz file.")
    judge, read = max(_READERS.values(), key=lambda reader: reader[0](path))
    if judge(path) == 0.0:
        raise DataError(f"'{path}' is neither a folder of pictures nor a zip or npz file of images.")
    return read(path)


def read_as(kind: str, ref: DataRef, split: str) -> ImageSet:
    """Read ``ref`` as ``folder``, ``zip`` or ``npz``. Raises DataError; these have no splits."""
    if split:
        raise DataError(
            f"'{ref.text}' is a {kind}, which has no splits; '{split}' was asked. Give two folders or files."
        )
    return _READERS[kind][1](ref.path)
