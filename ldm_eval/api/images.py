"""Sets of images, and the role a set plays in an evaluation."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from ldm_eval.api.features import Features

Role = Literal["samples", "reference", "training", "holdout", "reconstruction", "canaries"]
"""What a set of images is used for. ``samples`` come from the model; ``training`` is what it learned from;
``holdout`` is real data from the same source that it never saw; ``reference`` is what distances are measured to
(the holdout set unless the user names another); ``reconstruction`` is the holdout set after the model's own
autoencoder, image by image in the same order; ``canaries`` are images whose place in the training set was decided by
fair coin flips, with what each flip said in ``groups[CANARY]``."""

ROLES: tuple[Role, ...] = ("samples", "reference", "training", "holdout", "reconstruction", "canaries")

CANARY = "canary"
"""The group column of canaries: ``"included"`` or ``"left out"``."""

_BLOCK = 1 << 22
"""Pixels that are converted at a time."""


@dataclass(frozen=True, slots=True, eq=False)
class ImageSet:
    """Finished images of 8 or 16 bits with what is known about each. Checks always see 8 bits.

    Attributes:
        name: How the user or the plugin calls the set, e.g. ``"mnist"``.
        split: ``"train"``, ``"holdout"``, or an empty string when the set has no splits.
        pixels: ``(N, C, H, W)`` uint8 or uint16, the whole range black to white, C = 1 (grey) or 3 (RGB): the native
            channels. May be a memory map.
        ids: One stable identifier per image (file name, row number), N of them.
        digest: SHA-256 (hex) over type, shape and pixels; equal sets have equal digests whatever their names. The 8-bit
            rendition of a 16-bit set keeps that of the original.
        groups: Attribute name -> ``(N,)`` array of str, one value per image, ``"unknown"`` where not known.
        labels: ``(N,) int64`` class labels for class-conditional training, or None.
        licence: Licence or terms of the data as declared by who provides it; empty when nobody said.
        prompts: ``(N,)`` array of str, the text each image was made for or is described by, or None.
        known_features: Fingerprint of an extractor -> features that came with the set (``ldm-eval reference``).
    """

    name: str
    split: str
    pixels: NDArray[Any]
    ids: tuple[str, ...]
    digest: str
    groups: Mapping[str, NDArray[np.str_]] = field(default_factory=dict)
    labels: NDArray[np.int64] | None = None
    licence: str = ""
    prompts: NDArray[np.str_] | None = None
    known_features: Mapping[str, Features] = field(default_factory=dict)

    def __len__(self) -> int:
        return int(self.pixels.shape[0])

    @property
    def has_pixels(self) -> bool:
        """False for a set of which only features are known: its pixels are ``(N, C, 0, 0)``."""
        return bool(self.pixels.shape[2] and self.pixels.shape[3])

    @property
    def shape(self) -> tuple[int, int, int]:
        """``(C, H, W)`` of every image."""
        _, channels, height, width = self.pixels.shape
        return int(channels), int(height), int(width)

    def rgb(self, start: int = 0, stop: int | None = None) -> NDArray[np.uint8]:
        """Return images ``start:stop`` as ``(n, 3, H, W) uint8``; grey is replicated, 16 bits are rounded to 8."""
        import numpy as np

        block = _rounded(np.asarray(self.pixels[start:stop]))
        return block if block.shape[1] == 3 else np.repeat(block, 3, axis=1)

    def eight_bit(self) -> ImageSet:
        """This set with 8-bit pixels: level k of 16 bits becomes round(k / 257), of 8 bits stays.

        255 * 257 is 65,535, so both ends are kept and no level lies between two. The digest stays that of the original
        pixels, of which the rendition is a function.
        """
        import numpy as np

        if self.pixels.dtype == np.uint8:
            return self
        pixels = np.empty(self.pixels.shape, dtype=np.uint8)
        rows = max(1, _BLOCK // max(1, int(np.prod(self.shape))))
        for start in range(0, len(self), rows):
            pixels[start : start + rows] = _rounded(np.asarray(self.pixels[start : start + rows]))
        return replace(self, pixels=pixels)


def _rounded(pixels: NDArray[Any]) -> NDArray[np.uint8]:
    import numpy as np

    if pixels.dtype == np.uint8:
        return pixels
    wide: NDArray[np.uint8] = ((pixels.astype(np.uint32) + 128) // 257).astype(np.uint8)
    return wide


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
