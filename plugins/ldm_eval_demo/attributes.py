"""What a portrait shows: declared attributes by quota, everything else drawn at random. No real person, no network.

Skin tones are those of the Monk Skin Tone Scale (Ellis Monk, 2019, skintone.google, CC BY 4.0; the scale's paper is
doi 10.31235/osf.io/pdf4c). Randomness is the raw output of PCG64, which NumPy keeps stable (NEP 19), turned into
uniforms by one exact multiplication: the same seed gives the same sitters on every machine and NumPy.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from ldm_eval_demo.sitters import Quotas, Sitters

__all__ = ["AGES", "HAIR", "MONK", "TONES", "draw"]

Index = NDArray[np.int64]
Columns = dict[str, NDArray[np.float64]]

MONK: Final = (
    (0xF6, 0xED, 0xE4),
    (0xF3, 0xE7, 0xDB),
    (0xF7, 0xEA, 0xD0),
    (0xEA, 0xDA, 0xBA),
    (0xD7, 0xBD, 0x96),
    (0xA0, 0x7E, 0x56),
    (0x82, 0x5C, 0x43),
    (0x60, 0x41, 0x34),
    (0x3A, 0x31, 0x2A),
    (0x29, 0x24, 0x20),
)
"""Tones 1 to 10, sRGB."""

TONES: Final = ("light", "medium", "deep")
"""Groups of tones: Monk 1-4, 5-7 and 8-10, as in the scale's own three groups of three or four."""

AGES: Final = ("child", "adult", "older")
HAIR: Final = (
    "shaved",
    "crop",
    "side parting",
    "bob",
    "long",
    "afro",
    "bun",
    "curls",
    "puffs",
    "receding",
    "scarf",
)
_FIRST_MONK: Final = (0, 4, 7)
_MONKS: Final = (4, 3, 3)

# Chances of each hair style by age band; every style is worn at every tone.
_HAIR_CHANCES: Final = (
    (0.03, 0.18, 0.14, 0.15, 0.14, 0.07, 0.05, 0.11, 0.11, 0.0, 0.02),
    (0.07, 0.15, 0.14, 0.10, 0.14, 0.08, 0.08, 0.10, 0.02, 0.04, 0.08),
    (0.10, 0.15, 0.13, 0.12, 0.05, 0.04, 0.09, 0.11, 0.0, 0.15, 0.06),
)


class _Dice:
    """Exact uniforms from raw PCG64 bits, ``count`` at a time."""

    def __init__(self, seed: int, count: int) -> None:
        self._bits = np.random.PCG64(seed)
        self.count = count

    def random(self) -> NDArray[np.float64]:
        """``(count,)`` uniforms in [0, 1) with 53 bits."""
        raw = self._bits.random_raw(self.count)
        return (raw >> np.uint64(11)).astype(np.float64) * (1.0 / 9007199254740992.0)

    def between(self, low: float, high: float) -> NDArray[np.float64]:
        return low + (high - low) * self.random()

    def around(self, middle: float, spread: float) -> NDArray[np.float64]:
        """A bell, ``middle`` +- ``spread`` at most: the mean of three uniforms."""
        return middle + spread * ((self.random() + self.random() + self.random()) * (2.0 / 3.0) - 1.0)

    def chance(self, share: float | NDArray[np.float64]) -> NDArray[np.bool_]:
        return np.asarray(self.random() < share)

    def colour(self, low: float, high: float) -> NDArray[np.float64]:
        return np.stack([self.between(low, high) for _ in range(3)], axis=1)

    def quota(self, counts: Sequence[int]) -> Index:
        """Exactly ``counts[i]`` rows of kind i, in random order."""
        kinds = np.repeat(np.arange(len(counts)), counts)
        return kinds[np.argsort(self._bits.random_raw(self.count), kind="stable")].astype(np.int64)

    def kind(self, chances: NDArray[np.float64]) -> Index:
        """One kind per row from ``(count, K)`` chances."""
        at = self.random()[:, None]
        edge, kinds = np.zeros(self.count), np.zeros(self.count, dtype=np.int64)
        for column in range(chances.shape[1] - 1):
            edge = edge + chances[:, column]
            kinds += at[:, 0] >= edge
        return kinds


def draw(quotas: Quotas, seed: int) -> Sitters:
    """Draw ``quotas.total`` sitters. The seed alone decides; kinds are independent of each other but hair of age."""
    dice = _Dice(seed, quotas.total)
    tone, age = dice.quota(quotas.tones), dice.quota(quotas.ages)
    glasses = dice.quota((quotas.total - quotas.glasses, quotas.glasses)) == 1
    within = np.floor(dice.random() * np.array(_MONKS)[tone]).astype(np.int64)
    monk = np.array(_FIRST_MONK)[tone] + within
    hair = dice.kind(np.array(_HAIR_CHANCES)[age])
    columns: dict[str, NDArray[np.float64]] = {}
    for part in (_place, _face, _eyes, _mouth, _wisps, _worn, _picture):
        columns |= part(dice, tone, age, monk)
    looks: dict[str, NDArray[Any]] = {name: column.astype(np.float32) for name, column in columns.items()}
    looks["neckline"] = np.floor(dice.random() * 4).astype(np.int64)
    looks["ground_kind"] = np.floor(dice.random() * 6).astype(np.int64)
    return Sitters(monk=monk, tone=tone, age=age, glasses=glasses, hair=hair, **looks)


def _by(kind: Index, *values: float) -> NDArray[np.float64]:
    return np.array(values)[kind]


def _place(dice: _Dice, tone: Index, age: Index, monk: Index) -> Columns:
    return {
        "x": dice.around(0.0, 0.16),
        "y": _by(age, 0.05, 0.0, 0.0) + dice.around(0.0, 0.13),
        "size": _by(age, 0.58, 0.63, 0.63) + dice.around(0.0, 0.09),
        "tilt": dice.around(0.0, 0.24),
        "turn": dice.around(0.0, 0.14),
        "shoulders": _by(age, 1.18, 1.62, 1.50) + dice.around(0.0, 0.24),
        "neck": _by(age, 0.33, 0.43, 0.42) + dice.around(0.0, 0.10),
    }


def _face(dice: _Dice, tone: Index, age: Index, monk: Index) -> Columns:
    base = np.array(MONK, dtype=np.float64)[monk] / 255.0
    older = age == 2
    return {
        "width": _by(age, 0.86, 0.76, 0.77) + dice.around(0.0, 0.11),
        "jaw": _by(age, 0.20, 0.24, 0.20) + dice.around(0.0, 0.14),
        "skin": base * (1.0 + dice.around(0.0, 0.03)[:, None]),
        "blush": np.maximum(_by(age, 0.30, 0.20, 0.16) + dice.around(0.0, 0.16), 0.0),
        "freckles": np.where(dice.chance(_by(tone, 0.16, 0.08, 0.04)), dice.between(0.25, 0.5), 0.0),
        "wrinkles": np.where(older, dice.between(0.55, 1.0), np.where(age == 1, dice.between(-0.7, 0.35), 0.0)),
        "ears": _by(age, 0.17, 0.17, 0.20) + dice.around(0.0, 0.04),
        "gloss": dice.between(0.01, 0.09) + _by(monk, 0.0, 0.0, 0.0, 0.0, 0.03, 0.05, 0.07, 0.12, 0.20, 0.22),
        "nose_length": _by(age, 0.20, 0.31, 0.34) + dice.around(0.0, 0.07),
        "nose_width": _by(age, 0.11, 0.14, 0.16) + dice.around(0.0, 0.05),
    }


def _eyes(dice: _Dice, tone: Index, age: Index, monk: Index) -> Columns:
    brown = np.stack([dice.between(0.16, 0.36), dice.between(0.09, 0.22), dice.between(0.03, 0.12)], axis=1)
    clear = np.stack([dice.between(0.20, 0.42), dice.between(0.38, 0.55), dice.between(0.32, 0.68)], axis=1)
    return {
        "eye_y": _by(age, 0.13, -0.04, -0.03) + dice.around(0.0, 0.07),
        "eye_gap": _by(age, 0.39, 0.35, 0.35) + dice.around(0.0, 0.05),
        "eye_width": _by(age, 0.205, 0.175, 0.160) + dice.around(0.0, 0.03),
        "eye_height": _by(age, 0.150, 0.105, 0.085) + dice.around(0.0, 0.035),
        "gaze_x": dice.around(0.0, 0.08),
        "gaze_y": dice.around(0.0, 0.03),
        "iris": np.where(dice.chance(_by(tone, 0.5, 0.15, 0.03))[:, None], clear, brown),
        "brow_y": _by(age, 0.27, 0.24, 0.25) + dice.around(0.0, 0.05),
        "brow_slant": dice.around(0.0, 0.25),
        "brow_weight": _by(age, 0.038, 0.055, 0.050) + dice.around(0.0, 0.025),
    }


def _mouth(dice: _Dice, tone: Index, age: Index, monk: Index) -> Columns:
    skin = np.array(MONK, dtype=np.float64)[monk] / 255.0
    rose = np.stack([dice.between(0.55, 0.82), dice.between(0.18, 0.36), dice.between(0.20, 0.38)], axis=1)
    share = dice.between(0.35, 0.75)[:, None]
    bright = np.array([1.0, 0.95, 0.86])[tone][:, None]
    opened = np.where(dice.chance(0.4), dice.between(0.03, 0.13), 0.0)
    return {
        "mouth_y": _by(age, 0.58, 0.53, 0.53) + dice.around(0.0, 0.05),
        "mouth_width": _by(age, 0.23, 0.29, 0.29) + dice.around(0.0, 0.07),
        "mouth_curve": dice.around(0.11, 0.15),
        "mouth_open": opened,
        "lips": (skin * (1.0 - share) * 0.9 + rose * share) * bright,
        "lip_weight": _by(age, 0.055, 0.070, 0.052) + dice.around(0.0, 0.025),
    }


_HAIR_RAMP: Final = (
    (0.055, 0.045, 0.045),
    (0.17, 0.10, 0.07),
    (0.36, 0.21, 0.11),
    (0.56, 0.37, 0.20),
    (0.84, 0.68, 0.40),
)


def _wisps(dice: _Dice, tone: Index, age: Index, monk: Index) -> Columns:
    along = dice.random() * dice.between(0.3, 1.0) * _by(tone, 4.0, 1.9, 1.3)
    step = np.minimum(np.floor(along), 3.0)
    ramp = np.array(_HAIR_RAMP)
    low = step.astype(np.int64)
    colour = ramp[low] + (ramp[low + 1] - ramp[low]) * (along - step)[:, None]
    red = np.where(dice.chance(_by(tone, 0.15, 0.08, 0.08)), dice.between(0.3, 0.8), 0.0)[:, None]
    colour = colour + (np.array([0.58, 0.22, 0.08]) - colour) * red
    grey = np.where(
        age == 2,
        np.where(dice.chance(0.86), dice.between(0.55, 1.0), dice.between(0.1, 0.5)),
        np.where((age == 1) & dice.chance(0.14), dice.between(0.15, 0.6), 0.0),
    )
    silver = dice.between(0.62, 0.90)[:, None] * np.array([1.0, 0.99, 0.97])
    grown = (age > 0) & dice.chance(0.28)
    return {
        "hair_colour": colour + (silver - colour) * grey[:, None],
        "grey": grey,
        "curl": np.where(dice.chance(_by(tone, 0.25, 0.4, 0.65)), dice.between(0.5, 1.0), dice.between(0.0, 0.25)),
        "hair_side": np.where(dice.chance(0.5), 1.0, -1.0) * dice.between(0.5, 1.0),
        "hair_length": dice.between(0.0, 1.0),
        "hair_volume": dice.between(0.0, 1.0),
        "hairline": dice.around(0.0, 0.10),
        "phase": dice.between(0.0, 1.0),
        "beard": np.where(grown & dice.chance(0.6), dice.between(0.45, 0.95), 0.0),
        "moustache": np.where(grown & dice.chance(0.7), dice.between(0.45, 0.9), 0.0),
    }


_FRAMES: Final = (
    (0.06, 0.06, 0.07),
    (0.30, 0.17, 0.09),
    (0.62, 0.12, 0.14),
    (0.12, 0.22, 0.48),
    (0.72, 0.73, 0.76),
    (0.78, 0.62, 0.28),
    (0.93, 0.92, 0.90),
)
_FRAME_CHANCES: Final = (
    (0.24, 0.18, 0.14, 0.16, 0.12, 0.10, 0.06),
    (0.20, 0.16, 0.15, 0.16, 0.14, 0.12, 0.07),
    (0.0, 0.0, 0.24, 0.10, 0.26, 0.22, 0.18),
)
"""By tone: frames that would vanish on the skin are not worn."""


def _worn(dice: _Dice, tone: Index, age: Index, monk: Index) -> Columns:
    frames = np.array(_FRAMES)[dice.kind(np.array(_FRAME_CHANCES)[tone])]
    gold = np.where(dice.chance(0.5)[:, None], np.array([0.90, 0.74, 0.30]), np.array([0.88, 0.89, 0.92]))
    return {
        "frame": frames,
        "frame_size": dice.around(1.0, 0.18),
        "frame_square": dice.between(0.0, 1.0),
        "earrings": np.where(dice.chance(_by(age, 0.08, 0.28, 0.25)), dice.between(0.06, 0.11), 0.0),
        "earring_colour": gold,
        "clothes": _muted(dice.colour(0.08, 0.95)),
        "clothes_accent": dice.colour(0.1, 1.0),
        "stripes": np.where(dice.chance(0.3), dice.between(0.4, 0.9), 0.0),
    }


def _muted(colour: NDArray[np.float64]) -> NDArray[np.float64]:
    """Two fifths of the way to grey."""
    grey = (colour[:, :1] + colour[:, 1:2] + colour[:, 2:]) * (1.0 / 3.0)
    return colour + (grey - colour) * 0.4


def _picture(dice: _Dice, tone: Index, age: Index, monk: Index) -> Columns:
    ground = _muted(dice.colour(0.25, 0.98))
    return {
        "ground": ground,
        "ground_end": np.minimum(np.maximum(ground + _muted(dice.colour(-0.45, 0.45)), 0.15), 1.0),
        "ground_x": dice.between(-1.0, 1.0),
        "ground_y": dice.between(-1.0, 1.0),
        "light_x": dice.between(-1.0, 1.0),
        "light_y": dice.between(-1.0, 0.3),
        "light": dice.between(0.0, 0.34),
        "exposure": dice.around(0.95, 0.19),
        "warmth": dice.around(0.03, 0.05),
    }
