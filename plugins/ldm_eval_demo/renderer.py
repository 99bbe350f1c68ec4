"""From sitters to pixels: painted back to front, smooth, the same bytes on every machine (see ``canvas``)."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from ldm_eval_demo.attributes import HAIR
from ldm_eval_demo.canvas import Canvas, ellipse, pick, soft, triangle
from ldm_eval_demo.features import paint_features, paint_glasses
from ldm_eval_demo.sitters import Sitters

__all__ = ["SIDE", "Scene", "render"]

SIDE: Final = 32
_OVER: Final = 2
_BLOCK: Final = 32
_THREADS: Final = 2

Array = NDArray[Any]
"""float32 throughout, which a test holds; what a comparison or a Python number makes of the type is not spelt out."""


@dataclass(frozen=True, slots=True, eq=False)
class Scene:
    """A block of sitters on a canvas, with the frames that shapes are drawn in.

    Attributes:
        canvas: Where to paint.
        sitters: Whom.
        x: ``(n, side, side)`` in head units, rightwards from the middle of the face.
        y: ``(n, side, 1)``, downwards.
        edge: ``(n, 1, 1)`` one pixel in head units.
        shade: ``(n, side, side)`` light on the head.
    """

    canvas: Canvas
    sitters: Sitters
    x: Array
    y: Array
    edge: Array
    shade: Array

    def of(self, column: Array) -> Array:
        """A column of the sitters, shaped to go with ``x`` and ``y``."""
        return column[:, None, None]

    def paint(self, depth: Array, colour: Array, alpha: Array | float = 1.0, shade: Array | float = 1.0) -> None:
        """Paint what lies inside (``depth`` > 0), in the light that falls on the head."""
        self.canvas.paint(soft(depth, self.edge) * alpha, colour, self.shade * shade)


def render(sitters: Sitters) -> NDArray[np.uint8]:
    """Paint each sitter: ``(N, 3, 32, 32) uint8``. A picture depends on its sitter alone, not on its neighbours."""
    blocks = [sitters.take(slice(start, start + _BLOCK)) for start in range(0, len(sitters), _BLOCK)]
    with ThreadPoolExecutor(_THREADS) as pool:
        pictures = list(pool.map(_render, blocks))
    return np.concatenate([np.zeros((0, 3, SIDE, SIDE), dtype=np.uint8), *pictures])


def _render(sitters: Sitters) -> NDArray[np.uint8]:
    scene = _scene(sitters)
    _ground(scene)
    _back_hair(scene)
    _body(scene)
    _head(scene)
    paint_features(scene)
    _front_hair(scene)
    paint_glasses(scene)
    _develop(scene)
    return scene.canvas.finished(_OVER)


def _scene(sitters: Sitters) -> Scene:
    canvas = Canvas(len(sitters), SIDE * _OVER)
    size = sitters.size[:, None, None]
    dx, dy = canvas.x - sitters.x[:, None, None], canvas.y - sitters.y[:, None, None]
    x, y = (dx - sitters.tilt[:, None, None] * dy) / size, dy / size
    across, down = x / sitters.width[:, None, None], y + 0.0 * x
    slope = sitters.light_x[:, None, None] * across + sitters.light_y[:, None, None] * down
    round_off = np.minimum(across * across + down * down, 1.6)
    shade = (1.0 + sitters.light[:, None, None] * np.minimum(np.maximum(slope, -1.2), 1.2)) * (
        1.05 - 0.13 * round_off * round_off
    )
    edge = np.float32(canvas.pixel * _OVER * 0.6) / size
    return Scene(canvas, sitters, x, y, edge, np.maximum(shade, 0.35))


def _ground(scene: Scene) -> None:
    """Plain, gradients, a halo, a slanted half, a window, broad bands: by ``ground_kind``."""
    sitters, canvas = scene.sitters, scene.canvas
    kind = scene.of(sitters.ground_kind)
    at_x, at_y = scene.of(sitters.ground_x), scene.of(sitters.ground_y)
    x, y = canvas.x, canvas.y
    slope = 0.5 + 0.35 * (at_x * x + at_y * y)
    u, v = x - 0.5 * at_x, y + 0.4 + 0.3 * at_y
    halo = 1.0 - np.sqrt(u * u + v * v) * 0.8
    half = soft(x + at_x * y - 0.5 * at_y, np.float32(0.12) + 0.0 * at_x)
    window = soft(np.minimum(0.42 - np.abs(x - 0.7 * at_x), 0.62 - np.abs(y + 0.45)), np.float32(0.1) + 0.0 * at_x)
    bands = triangle((x * at_x + y * (1.0 - np.abs(at_x))) * 1.1 + at_y)
    share = pick(kind == 1, slope, pick(kind == 2, halo, pick(kind == 3, half, 0.0)))
    share = pick(kind == 4, window, pick(kind == 5, bands, share))
    share = np.minimum(np.maximum(share, 0.0), 1.0)
    canvas.paint(np.ones_like(share), sitters.ground)
    canvas.paint(share, sitters.ground_end)


def _worn(sitters: Sitters, *styles: str) -> Array:
    worn = np.zeros(len(sitters), dtype=bool)
    for style in styles:
        worn |= sitters.hair == HAIR.index(style)
    return worn


def _frizz(scene: Scene) -> Array:
    """A wavy rim for curly hair, in head units."""
    phase = scene.of(scene.sitters.phase)
    waves = triangle(scene.x * 2.1 + phase) + triangle(scene.y * 2.1 - phase + 0.3)
    return scene.of(scene.sitters.curl) * (waves - 1.0) * 0.09


def _strands(scene: Scene) -> Array:
    """Light and shade within hair: broad locks, closer when curly."""
    phase, curl = scene.of(scene.sitters.phase), scene.of(scene.sitters.curl)
    locks = triangle(scene.x * (1.3 + 0.9 * curl) + scene.y * (0.35 + 1.4 * curl) + phase)
    return (0.84 + 0.34 * locks) * (1.0 - 0.12 * scene.y)


def _hair_colour(sitters: Sitters) -> Array:
    return pick(_worn(sitters, "scarf")[:, None], sitters.clothes_accent, sitters.hair_colour)


def _back_hair(scene: Scene) -> None:
    """What falls behind the face: long hair, bobs, afros, buns, puffs, scarves."""
    sitters = scene.sitters
    of = scene.of
    volume, length = of(sitters.hair_volume), of(sitters.hair_length)
    falls = of(_worn(sitters, "long", "bob", "curls", "scarf"))
    width = of(sitters.width) + 0.12 + 0.20 * volume + pick(of(_worn(sitters, "curls")), np.float32(0.12), 0)
    short = pick(of(_worn(sitters, "bob")), 0.35 + 0.5 * length, 0.55 + 0.5 * length)
    bottom = pick(of(_worn(sitters, "long", "scarf")), 1.05 + 0.7 * length, short)
    cap = ellipse(scene.x, scene.y + 0.1, width, np.float32(1.08) + 0.08 * volume)
    slab = np.minimum(width - np.abs(scene.x), np.minimum(scene.y + 0.1, bottom - scene.y))
    depth = pick(falls, np.maximum(cap, slab), -9.0)
    afro = ellipse(scene.x, scene.y + 0.34, 1.04 + 0.26 * volume, 0.98 + 0.22 * volume)
    depth = pick(of(_worn(sitters, "afro")), afro, depth)
    bun = ellipse(scene.x - of(sitters.turn), scene.y + 1.26, 0.34 + 0.12 * volume, 0.30 + 0.10 * volume)
    depth = pick(of(_worn(sitters, "bun")), bun, depth)
    puff = ellipse(np.abs(scene.x) - 0.82, scene.y + 0.72 - 0.25 * length, 0.40 + 0.1 * volume, 0.40 + 0.1 * volume)
    depth = pick(of(_worn(sitters, "puffs")), puff, depth)
    frizz = pick(of(_worn(sitters, "scarf")), np.float32(0), _frizz(scene))
    shade = pick(of(_worn(sitters, "scarf")), np.float32(0.85), _strands(scene) * 0.86)
    scene.paint(depth + frizz, _hair_colour(sitters), shade=shade)


def _body(scene: Scene) -> None:
    """Neck, shoulders, clothes with one of four necklines."""
    sitters, of = scene.sitters, scene.of
    neck = np.minimum(of(sitters.neck) + 0.12 * np.maximum(scene.y - 1.2, 0.0) - np.abs(scene.x), scene.y - 0.5)
    under_chin = 0.80 + 0.20 * np.minimum(np.maximum(scene.y - 0.95, 0.0), 1.0)
    wide = of(sitters.shoulders)
    top = 1.16 + 0.10 * of(sitters.hair_volume)
    shoulders = ellipse(scene.x, np.minimum(scene.y - (top + 0.8), 0.0), wide, np.float32(0.8) + 0.0 * wide)
    shadow = np.array([0.93, 0.83, 0.79], dtype=np.float32)
    scene.paint(neck, sitters.skin * shadow, shade=under_chin)
    stripe = soft(triangle(scene.y * 2.2 + of(sitters.phase)) - 0.5, np.float32(0.5) + 0.0 * wide)
    kind = of(sitters.neckline)
    crew = ellipse(scene.x, scene.y - 1.12, of(sitters.neck) + 0.12, np.float32(0.24) + 0.0 * wide)
    vee = np.minimum((1.72 - scene.y) * 0.62 - np.abs(scene.x), scene.y - 0.9)
    scoop = ellipse(scene.x, scene.y - 1.15, of(sitters.neck) + 0.26, np.float32(0.42) + 0.0 * wide)
    opening = pick(kind == 0, crew, pick(kind == 1, vee, pick(kind == 2, scoop, -9.0)))
    cloth = np.minimum(shoulders, -opening)
    folds = 0.90 + 0.14 * triangle(scene.x * 0.8 + of(sitters.phase))
    scene.paint(np.minimum(shoulders, opening), sitters.skin, shade=0.93)
    scene.paint(cloth, sitters.clothes, shade=folds)
    scene.paint(cloth, sitters.clothes_accent, alpha=stripe * of(sitters.stripes), shade=folds)
    band = pick(kind == 3, 0.13 - np.abs(np.abs(scene.x) - of(sitters.neck) * 0.8 - 0.1), 0.05 - np.abs(opening))
    scene.paint(np.minimum(shoulders + 0.03, band), sitters.clothes_accent, alpha=0.8)


def _head(scene: Scene) -> None:
    sitters, of = scene.sitters, scene.of
    low = np.maximum(scene.y, 0.0)
    width = of(sitters.width) * (1.0 - of(sitters.jaw) * low * low)
    ear = ellipse(np.abs(scene.x) - of(sitters.width) * 0.99, scene.y - of(sitters.eye_y) - 0.1, 0.12, of(sitters.ears))
    scene.paint(ear, sitters.skin, shade=0.86)
    drop = ellipse(
        np.abs(scene.x) - of(sitters.width) * 1.04,
        scene.y - of(sitters.eye_y) - 0.36,
        of(sitters.earrings) + 1e-3,
        of(sitters.earrings) * 1.3 + 1e-3,
    )
    scene.paint(pick(of(sitters.earrings) > 0, drop, np.float32(-9)), sitters.earring_colour)
    scene.paint(ellipse(scene.x, scene.y, width, np.float32(1.0) + 0.0 * width), sitters.skin)


def _front_hair(scene: Scene) -> None:
    """The cap above the hairline ``h0 + a x + b x^2 + c |x|``; what the styles differ in is a table."""
    sitters, of = scene.sitters, scene.of
    base = np.array([-0.66, -0.60, -0.56, -0.36, -0.70, -0.60, -0.66, -0.46, -0.66, -0.95, -0.60], dtype=np.float32)
    lean = np.array([0.0, 0.0, 0.30, 0.06, 0.10, 0.0, 0.0, 0.10, 0.0, 0.0, 0.0], dtype=np.float32)
    bend = np.array([0.5, 0.75, 0.7, 0.35, 0.0, 0.5, 0.45, 0.6, 0.5, 0.95, 0.6], dtype=np.float32)
    peak = np.array([0.0, 0.0, 0.0, 0.25, 1.15, 0.0, 0.0, 0.1, 0.0, 0.1, 0.1], dtype=np.float32)
    high = np.array([0.01, 0.10, 0.15, 0.12, 0.12, 0.12, 0.06, 0.17, 0.06, 0.03, 0.10], dtype=np.float32)
    hair = sitters.hair
    volume = of(high[hair]) * (0.6 + 0.8 * of(sitters.hair_volume))
    x = scene.x - 0.5 * of(sitters.turn)
    line = (
        of(base[hair] + sitters.hairline)
        + of(lean[hair] * sitters.hair_side) * x
        + of(bend[hair]) * x * x
        + of(peak[hair]) * np.abs(x)
    )
    cap = ellipse(scene.x, scene.y + 0.04, of(sitters.width) + 0.4 * volume + 0.02, 0.98 + volume)
    sides = pick(of(_worn(sitters, "scarf")), np.float32(0.75), 0.02 + 0.25 * of(sitters.hair_length))
    depth = np.minimum(np.minimum(cap, line - scene.y), sides - scene.y)
    scarf = of(_worn(sitters, "scarf"))
    depth = depth + pick(scarf, np.float32(0), _frizz(scene))
    alpha = pick(of(_worn(sitters, "shaved")), 0.18 + 0.3 * of(sitters.hair_volume), np.float32(1))
    shade = pick(scarf, np.float32(0.97), _strands(scene) * 1.06)
    scene.paint(depth, _hair_colour(sitters), alpha=alpha, shade=shade)
    sheen = ellipse(x - 0.35 * of(sitters.light_x), scene.y + 0.80, np.float32(0.45), np.float32(0.24))
    sheen = np.minimum(np.maximum(sheen * 4.0, 0.0), 1.0) * soft(depth, scene.edge) * alpha
    scene.canvas.paint(sheen * 0.14, np.ones_like(sitters.skin), scene.shade)


def _develop(scene: Scene) -> None:
    """Exposure and a warm or cool tint over the whole picture."""
    sitters, of = scene.sitters, scene.of
    warmth = of(sitters.warmth)
    scene.canvas.light(of(sitters.exposure), (1.0 + warmth, 1.0, 1.0 - warmth))
