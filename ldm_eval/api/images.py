"""Sets of images, and the role a set plays in an evaluation."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

Role = Literal["samples", "reference", "training", "holdout", "reconstruction"]
"""What a set of images is used for. ``samples`` come from the model; ``training`` is what it learned from;
``holdout`` is real data from the same source that it never saw; ``reference`` is what distances are measured to
(the holdout set unless the user names another); ``reconstruction`` is the holdout set after the model's own
autoencoder, image by image in the same order."""

ROLES: tuple[Role, ...] = ("samples", "reference", "training", "holdout", "reconstruction")


@dataclass(frozen=True, slots=True, eq=False)
class ImageSet:
    """Finished 8-bit images with what is known about each.

    Attributes:
        name: How the user or the plugin calls the set, e.g. ``"mnist"``.
        split: ``"train"``, ``"holdout"``, or an empty string when the set has no splits.
        pixels: ``(N, C, H, W) uint8``, C = 1 (grey) or 3 (RGB): the native channels. May be a memory map.
        ids: One stable identifier per image (file name, row number), N of them.
        digest: SHA-256 (hex) over shape and pixels; equal sets have equal digests whatever their names.
        groups: Attribute name -> ``(N,)`` array of str, one value per image, ``"unknown"`` where not known.
        labels: ``(N,) int64`` class labels for class-conditional training, or None.
        licence: Licence or terms of the data as declared by who provides it; empty when nobody said.
    """

    name: str
    split: str
    pixels: NDArray[np.uint8]
    ids: tuple[str, ...]
    digest: str
    groups: Mapping[str, NDArray[np.str_]] = field(default_factory=dict)
    labels: NDArray[np.int64] | None = None
    licence: str = ""

    def __len__(self) -> int:
        return int(self.pixels.shape[0])

    @property
    def shape(self) -> tuple[int, int, int]:
        """``(C, H, W)`` of every image."""
        _, channels, height, width = self.pixels.shape
        return int(channels), int(height), int(width)

    def rgb(self, start: int = 0, stop: int | None = None) -> NDArray[np.uint8]:
        """Return images ``start:stop`` as ``(n, 3, H, W) uint8``; grey is replicated to three channels."""
        import numpy as np

        block = np.asarray(self.pixels[start:stop])
        return block if block.shape[1] == 3 else np.repeat(block, 3, axis=1)


@dataclass(frozen=True, slots=True)
class DataRef:
    """A reference to a dataset as the user typed it: a path, or ``NAME`` or ``NAME:SPLIT`` of a named dataset."""

    text: str

    @property
    def path(self) -> Path:
        """The reference read as a path (it may not exist)."""
        return Path(self.text).expanduser()

    @property
    def name_and_split(self) -> tuple[str, str]:
        """The reference read as ``NAME:SPLIT``; the split is empty when none was given."""
        name, _, split = self.text.partition(":")
        return name, split


@dataclass(frozen=True, slots=True)
class DatasetSpec:
    """A light description of one source of images; ``load`` does the work.

    Attributes:
        name: What the user types after ``--data``; for a file format (folder, zip, npz) its name.
        summary: One line for ``ldm-eval list datasets``.
        licence: SPDX id or a sentence.
        splits: Names a user may put after the colon; the first is the default.
        recognises: 0..1, how surely this source can read the reference. Looks at names and content, executes nothing.
        load: Reads the reference with this split. Raises DataError with what was found and what to do.
        holdout_split: The split that was kept from training, or an empty string.
        requires: Importable module names without which the set cannot be read.
        extra: The extra of ldm-eval that installs them, for the message.
    """

    name: str
    summary: str
    licence: str
    splits: tuple[str, ...]
    recognises: Callable[[DataRef], float]
    load: Callable[[DataRef, str], ImageSet]
    holdout_split: str = ""
    requires: tuple[str, ...] = ()
    extra: str = ""
