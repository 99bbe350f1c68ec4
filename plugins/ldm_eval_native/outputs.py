"""The files that a training writes: what they are called, and what they must not take the place of."""

from __future__ import annotations

from pathlib import Path

from ldm_eval.api import DataRef, ImageSet
from ldm_eval.errors import ConfigError

__all__ = ["check_output", "losses_path", "previews_folder", "refuse_overwriting", "state_path"]

_STATE = ".state.pt"


def _beside(output: Path, ending: str) -> Path:
    """``m.pt`` and ``m.safetensors`` are one training and share what lies beside them; ``m.v2`` and ``m.v3`` do not."""
    stem = output.stem if output.suffix in (".pt", ".safetensors") else output.name
    return output.with_name(stem + ending)


def state_path(output: Path) -> Path:
    """Where the state of the training that writes ``output`` is kept."""
    return _beside(output, _STATE)


def losses_path(output: Path, suffix: str) -> Path:
    """Where its losses are kept; ``suffix`` is ``.csv`` or ``.png``."""
    return _beside(output, ".losses" + suffix)


def previews_folder(output: Path) -> Path:
    """Where its grids of images are kept."""
    return _beside(output, ".previews")


def refuse_overwriting(output: Path, read: Path, what: str) -> None:
    """Raise ConfigError when ``output`` is the file ``read``, or lies in it where it is a folder."""
    if not read.exists():
        return
    target, source = output.resolve(), read.resolve()
    if target == source:
        raise ConfigError(f"--output {output} is {what} and would be overwritten. Name another file.")
    if read.is_dir() and source in target.parents:
        raise ConfigError(
            f"--output {output} lies in {read}, {what}: curves and grids written beside it would be read as images of "
            "that folder. Name a file elsewhere."
        )


def check_output(output: Path, data: ImageSet, data_ref: str, what: str) -> None:
    """Refuse an ``output`` that cannot be one, or that would change ``data``, which was read from ``data_ref``.

    Raises:
        ConfigError: for a folder, a name that states have, the file of the images or a file among them.
    """
    if output.is_dir():
        raise ConfigError(f"--output {output} is a folder; name the checkpoint file to write, e.g. model.pt.")
    if output.name.endswith(_STATE):
        raise ConfigError(
            f"--output {output} ends in {_STATE}, as the states of trainings do that lie beside a checkpoint. "
            "Name it otherwise, e.g. model.pt."
        )
    if not data.split:  # one half of a named set is no file, whatever lies here under its name
        refuse_overwriting(output, DataRef(data_ref).path, what)
