"""The people in the demo's portraits as numbers: what is declared about each, and all that a painter needs to know."""

from __future__ import annotations

from dataclasses import dataclass, fields

import numpy as np
from numpy.typing import NDArray

__all__ = ["Quotas", "Sitters"]

Floats = NDArray[np.float32]
Index = NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Quotas:
    """How many sitters of each kind: ``tones`` and ``ages`` sum to the same number, ``glasses`` of them wear glasses.

    Quotas, not chances: the shares of a set are exactly the declared ones. Kinds are combined at random.
    """

    tones: tuple[int, int, int]
    ages: tuple[int, int, int]
    glasses: int

    @property
    def total(self) -> int:
        """Number of sitters."""
        return sum(self.tones)

    def less(self, other: Quotas, times: int) -> Quotas:
        """What is left when ``other`` has been handed out ``times`` times."""
        return Quotas(
            tones=(
                self.tones[0] - times * other.tones[0],
                self.tones[1] - times * other.tones[1],
                self.tones[2] - times * other.tones[2],
            ),
            ages=(
                self.ages[0] - times * other.ages[0],
                self.ages[1] - times * other.ages[1],
                self.ages[2] - times * other.ages[2],
            ),
            glasses=self.glasses - times * other.glasses,
        )


@dataclass(frozen=True, slots=True, eq=False)
class Sitters:
    """N sitters, one row each: every field is ``(N,)``, or ``(N, 3)`` for an sRGB colour in [0, 1].

    Lengths are in head units (half the height of the face), places in the frame of the face (x right, y down, chin
    at y = 1); ``x``, ``y`` and ``size`` place that frame on the canvas [-1, 1]^2.
    """

    monk: Index
    tone: Index
    age: Index
    glasses: NDArray[np.bool_]
    hair: Index
    # where the head is
    x: Floats
    y: Floats
    size: Floats
    tilt: Floats
    turn: Floats
    # the face
    width: Floats
    jaw: Floats
    skin: Floats
    blush: Floats
    freckles: Floats
    wrinkles: Floats
    eye_y: Floats
    eye_gap: Floats
    eye_width: Floats
    eye_height: Floats
    gaze_x: Floats
    gaze_y: Floats
    iris: Floats
    brow_y: Floats
    brow_slant: Floats
    brow_weight: Floats
    nose_length: Floats
    nose_width: Floats
    mouth_y: Floats
    mouth_width: Floats
    mouth_curve: Floats
    mouth_open: Floats
    lips: Floats
    lip_weight: Floats
    ears: Floats
    # hair
    hair_colour: Floats
    grey: Floats
    curl: Floats
    hair_side: Floats
    hair_length: Floats
    hair_volume: Floats
    hairline: Floats
    phase: Floats
    beard: Floats
    moustache: Floats
    # worn
    frame: Floats
    frame_size: Floats
    frame_square: Floats
    earrings: Floats
    earring_colour: Floats
    clothes: Floats
    clothes_accent: Floats
    stripes: Floats
    neckline: Index
    shoulders: Floats
    neck: Floats
    # the picture
    ground: Floats
    ground_end: Floats
    ground_kind: Index
    ground_x: Floats
    ground_y: Floats
    light_x: Floats
    light_y: Floats
    light: Floats
    exposure: Floats
    warmth: Floats
    gloss: Floats

    def __len__(self) -> int:
        return len(self.monk)

    def take(self, rows: Index | slice) -> Sitters:
        """The sitters at ``rows``, in that order."""
        return Sitters(**{field.name: getattr(self, field.name)[rows] for field in fields(self)})

    @staticmethod
    def joined(*parts: Sitters) -> Sitters:
        """All sitters of ``parts``, one after the other."""
        columns = {field.name: [getattr(part, field.name) for part in parts] for field in fields(Sitters)}
        return Sitters(**{name: np.concatenate(column) for name, column in columns.items()})
