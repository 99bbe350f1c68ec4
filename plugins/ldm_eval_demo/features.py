"""What makes a face one: eyes, brows, nose, mouth, lines, beard, and the glasses before it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import numpy as np
from numpy.typing import NDArray

from ldm_eval_demo.canvas import ellipse, pick, soft

if TYPE_CHECKING:
    from ldm_eval_demo.renderer import Scene

__all__ = ["paint_features", "paint_glasses"]

Array = NDArray[Any]

_SUN: Final = ((1.0, 0.90, 0.76), (1.0, 0.88, 0.72), (1.0, 0.80, 0.62))
"""What skin shines towards where it is lit, by tone: warmer on deep tones, which look ashen otherwise."""


def paint_features(scene: Scene) -> None:
    """Paint all that lies on the skin, in the light of the head."""
    _skin_marks(scene)
    _lines(scene)
    _beard(scene)
    _nose(scene)
    _mouth(scene)
    _eyes(scene)
    _brows(scene)


def paint_glasses(scene: Scene) -> None:
    """Frames and a bright lens before the eyes, for those who wear glasses."""
    s, of = scene.sitters, scene.of
    worn = of(s.glasses.astype(np.float32))
    width = of(s.frame_size) * np.minimum(of(s.eye_gap) - 0.06, 0.31)
    height = of(s.frame_size) * (0.22 + 0.05 * of(s.frame_square))
    x, y = np.abs(_inner(scene)) - of(s.eye_gap), scene.y - of(s.eye_y)
    rounded = ellipse(x, y, width, height)
    box = np.minimum(width - np.abs(x), height - np.abs(y)) * 0.9
    inside = rounded + (box - rounded) * (0.6 * of(s.frame_square))
    scene.paint(inside, np.ones_like(s.frame), alpha=0.13 * worn, shade=1.0)
    rim = 0.052 - np.abs(inside)
    bridge = np.minimum(0.045 - np.abs(y + 0.05), of(s.eye_gap) - width - np.abs(_inner(scene)))
    temple = np.minimum(
        0.04 - np.abs(y + 0.06),
        np.minimum(np.abs(_inner(scene)) - of(s.eye_gap) - width, of(s.width) - np.abs(scene.x)),
    )
    scene.paint(np.maximum(rim, np.maximum(bridge, temple)), s.frame, alpha=worn * 0.95)


def _inner(scene: Scene) -> Array:
    """Distance to the right of the nose: features move aside when the head turns."""
    x: Array = scene.x - scene.of(scene.sitters.turn)
    return x


def _towards(colour: Array, goal: tuple[float, float, float], share: float) -> Array:
    mixed: Array = colour + (np.array(goal, dtype=np.float32) - colour) * np.float32(share)
    return mixed


def _deeper(skin: Array) -> Array:
    """A warm shadow on this skin."""
    shadow: Array = skin * np.array([0.62, 0.52, 0.48], dtype=np.float32)
    return shadow


def _skin_marks(scene: Scene) -> None:
    s, of = scene.sitters, scene.of
    x = _inner(scene)
    cheek = ellipse(np.abs(x) - of(s.width) * 0.55, scene.y - of(s.eye_y) - 0.34, 0.26, 0.20)
    blush = _towards(s.skin, (0.84, 0.34, 0.27), 0.42)
    scene.canvas.paint(np.minimum(np.maximum(cheek * 5.0, 0.0), 1.0) * of(s.blush), blush, scene.shade)
    bright = s.skin + (np.array(_SUN, dtype=np.float32)[s.tone] - s.skin) * np.float32(0.55)
    for at, down, a, b in ((0.0, -0.50, 0.42, 0.24), (0.0, 0.12, 0.13, 0.22)):
        glow = ellipse(x - at - 0.10 * of(s.light_x), scene.y - down, np.float32(a), np.float32(b))
        glow = np.minimum(np.maximum(glow * np.float32(1.0 / min(a, b)), 0.0), 1.0)
        scene.canvas.paint(glow * of(s.gloss) * 2.2, bright, scene.shade)
    bone = ellipse(np.abs(x) - of(s.width) * 0.62, scene.y - of(s.eye_y) - 0.24, np.float32(0.17), np.float32(0.13))
    bone = np.minimum(np.maximum(bone * 7.0, 0.0), 1.0)
    scene.canvas.paint(bone * of(s.gloss) * 1.6, bright, scene.shade)
    lit = ellipse(x - 0.38 * of(s.light_x), scene.y - 0.05 - 0.3 * of(s.light_y), 0.55 * of(s.width), np.float32(0.62))
    lit = np.minimum(np.maximum(lit * 2.0, 0.0), 1.0) * of(s.light) * (0.25 + 0.35 * of(s.tone.astype(np.float32)))
    scene.canvas.paint(lit, bright, scene.shade)
    for at, down in ((0.30, 0.24), (0.46, 0.33), (0.40, 0.16)):
        dot = ellipse(np.abs(x) - at, scene.y - of(s.eye_y) - down, np.float32(0.05), np.float32(0.05))
        scene.paint(dot, _towards(s.skin, (0.55, 0.30, 0.16), 0.6), alpha=of(s.freckles))


def _lines(scene: Scene) -> None:
    """Lines of age: brow, under the eyes, from nose to mouth."""
    s, of = scene.sitters, scene.of
    strength = np.maximum(of(s.wrinkles), 0.0)
    x = _inner(scene)
    ink = _deeper(s.skin)
    for at, wide in ((-0.47, 0.42), (-0.60, 0.34)):
        bow = scene.y - at - of(s.eye_y) * 0.5 + 0.16 * x * x
        scene.paint(np.minimum(0.035 - np.abs(bow), wide - np.abs(x)), ink, alpha=0.75 * strength)
    bag = (
        scene.y
        - of(s.eye_y)
        - of(s.eye_height)
        - 0.10
        + 0.9 * (np.abs(x) - of(s.eye_gap)) * (np.abs(x) - of(s.eye_gap))
    )
    scene.paint(np.minimum(0.035 - np.abs(bag), 0.17 - np.abs(np.abs(x) - of(s.eye_gap))), ink, alpha=0.8 * strength)
    fold = np.abs(x) - 0.16 - 0.55 * (scene.y - 0.24)
    scene.paint(np.minimum(0.04 - np.abs(fold), 0.17 - np.abs(scene.y - 0.39)), ink, alpha=0.9 * strength)


def _beard(scene: Scene) -> None:
    s, of = scene.sitters, scene.of
    x = _inner(scene)
    low = np.maximum(scene.y, 0.0)
    width = of(s.width) * (1.0 - of(s.jaw) * low * low)
    face = ellipse(scene.x, scene.y, width, np.float32(1.03) + 0.0 * width)
    jawline = scene.y - 0.72 + 0.85 * (x * x) / (of(s.width) * of(s.width)) - 0.10 * of(s.hair_side)
    scene.paint(np.minimum(face, jawline), s.hair_colour, alpha=of(s.beard))
    lip = np.minimum(0.07 - np.abs(scene.y - of(s.mouth_y) + 0.15 - 0.3 * x * x), of(s.mouth_width) + 0.04 - np.abs(x))
    scene.paint(lip, s.hair_colour, alpha=of(s.moustache))


def _nose(scene: Scene) -> None:
    s, of = scene.sitters, scene.of
    x = _inner(scene) - 0.4 * of(s.turn)
    tip = of(s.eye_y) + of(s.nose_length)
    ink = _deeper(s.skin)
    side = pick(of(s.light_x) > 0, x + of(s.nose_width) * 0.6, of(s.nose_width) * 0.6 - x)
    along = np.minimum(scene.y - of(s.eye_y) - 0.02, tip - scene.y)
    scene.paint(np.minimum(0.05 - np.abs(side), along), ink, alpha=0.30)
    under = np.minimum(0.042 - np.abs(scene.y - tip), of(s.nose_width) - np.abs(x))
    scene.paint(under, ink, alpha=0.75)


def _mouth(scene: Scene) -> None:
    s, of = scene.sitters, scene.of
    x = _inner(scene) - 0.2 * of(s.turn)
    across = x / of(s.mouth_width)
    line = scene.y - of(s.mouth_y) + of(s.mouth_curve) * (across * across - 0.5)
    taper = np.maximum(1.0 - across * across, 0.0)
    half = (of(s.lip_weight) + of(s.mouth_open)) * (0.35 + 0.65 * taper)
    ends = of(s.mouth_width) - np.abs(x)
    scene.paint(np.minimum(half - np.abs(line), ends), s.lips)
    gap = of(s.mouth_open) * taper
    dark = np.full_like(s.lips, 0.16) * np.array([1.3, 0.6, 0.6], dtype=np.float32)
    opened = of((s.mouth_open > 0).astype(np.float32))
    scene.paint(np.minimum(gap - np.abs(line), ends), dark, alpha=opened)
    teeth = np.minimum(np.minimum(gap - np.abs(line), -0.01 - line), ends - 0.05)
    scene.paint(teeth, np.full_like(s.lips, 0.95), alpha=opened * soft(of(s.mouth_open) - 0.06, np.float32(0.04)))
    closed = np.minimum(0.03 - np.abs(line), ends)
    scene.paint(closed, s.lips * np.float32(0.5), alpha=0.7 * (1.0 - opened))


def _eyes(scene: Scene) -> None:
    s, of = scene.sitters, scene.of
    x = _inner(scene)
    side = pick(x > 0, np.float32(1), np.float32(-1))
    at_x, at_y = np.abs(x) - of(s.eye_gap), scene.y - of(s.eye_y)
    socket = ellipse(at_x, at_y, of(s.eye_width) + 0.07, of(s.eye_height) + 0.07)
    scene.paint(socket, _deeper(s.skin), alpha=0.35)
    eye = ellipse(at_x, at_y, of(s.eye_width), of(s.eye_height))
    scene.paint(eye, np.full_like(s.skin, 0.96) * np.array([1.0, 0.985, 0.96], dtype=np.float32))
    radius = np.minimum(0.095, of(s.eye_height) * 1.02)
    look_x, look_y = at_x * side - of(s.gaze_x), at_y - of(s.gaze_y)
    scene.paint(np.minimum(eye, ellipse(look_x, look_y, radius, radius)), s.iris)
    scene.paint(ellipse(look_x, look_y, radius * 0.55, radius * 0.55), np.full_like(s.skin, 0.04))
    lid = np.minimum(0.035 - np.abs(eye), -at_y - 0.01)
    scene.paint(lid, _deeper(s.skin) * np.float32(0.45), alpha=0.85)


def _brows(scene: Scene) -> None:
    s, of = scene.sitters, scene.of
    x = np.abs(_inner(scene)) - of(s.eye_gap)
    line = scene.y - of(s.eye_y) + of(s.brow_y) + of(s.brow_slant) * 0.5 * x + 1.3 * x * x
    brow = np.minimum(of(s.brow_weight) - np.abs(line), of(s.eye_width) + 0.03 - np.abs(x))
    scene.paint(brow, s.hair_colour * np.float32(0.75), alpha=0.92)
