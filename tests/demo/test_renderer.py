"""The painter: a picture depends on its sitter alone, and what is declared is what is painted."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from ldm_eval_demo import features, renderer
from ldm_eval_demo.attributes import HAIR, MONK, draw
from ldm_eval_demo.canvas import Canvas, triangle
from ldm_eval_demo.renderer import render
from ldm_eval_demo.sitters import Quotas, Sitters

MIXED = Quotas(tones=(24, 21, 21), ages=(20, 26, 20), glasses=22)


def in_neutral_light(sitters: Sitters) -> Sitters:
    """As they are, but under plain even light, bare-faced, bald, looking straight ahead from the middle."""
    none = np.zeros(len(sitters), dtype=np.float32)
    plain = dict.fromkeys(
        ("light", "gloss", "blush", "freckles", "wrinkles", "beard", "moustache", "warmth", "turn", "tilt", "x", "y"),
        none,
    )
    return replace(
        sitters,
        **plain,
        exposure=none + 1,
        size=none + 0.7,
        glasses=np.zeros(len(sitters), dtype=bool),
        skin=(np.array(MONK)[sitters.monk] / 255).astype(np.float32),
        hair=np.full(len(sitters), HAIR.index("receding")),
    )


def test_skin_has_the_monk_tone_under_neutral_light():
    sitters = in_neutral_light(draw(MIXED, 1))
    forehead = render(sitters)[:, :, 10:12, 14:18].astype(np.float64).mean(axis=(2, 3))
    assert np.abs(forehead - np.array(MONK)[sitters.monk]).max() < 14
    tones = np.array(MONK, dtype=np.float64)
    nearest = ((forehead[:, None] - tones) ** 2).sum(axis=2).argmin(axis=1)
    group = np.array([0, 0, 0, 0, 1, 1, 1, 2, 2, 2])
    assert (group[nearest] == sitters.tone).all()


@pytest.mark.parametrize(
    ("column", "change", "least"),
    [("glasses", True, 3.0), ("wrinkles", 1.0, 0.8), ("beard", 0.9, 2.0), ("light", 0.3, 3.0), ("gaze_x", 0.08, 0.05)],
)
def test_what_is_declared_is_seen(column, change, least):
    sitters = in_neutral_light(draw(MIXED, 2))
    old = getattr(sitters, column)
    changed = replace(sitters, **{column: np.full_like(old, change)})
    before, after = (render(each)[:, :, 6:26, 6:26].astype(np.float64) for each in (sitters, changed))
    assert np.sqrt(((before - after) ** 2).mean(axis=(1, 2, 3))).min() > least


def test_every_hair_style_looks_different():
    one = in_neutral_light(draw(MIXED, 3)).take(np.zeros(len(HAIR), dtype=np.int64))
    pictures = render(replace(one, hair=np.arange(len(HAIR)))).reshape(len(HAIR), -1).astype(np.float64)
    apart = np.sqrt(((pictures[:, None] - pictures[None]) ** 2).mean(axis=2))
    assert apart[~np.eye(len(HAIR), dtype=bool)].min() > 3


def test_a_picture_depends_on_its_sitter_alone():
    sitters = draw(MIXED, 4)
    together = render(sitters)
    rows = np.array([40, 3, 65])
    assert (render(sitters.take(rows)) == together[rows]).all()
    assert render(sitters.take(slice(0, 0))).shape == (0, 3, 32, 32)


def test_everything_is_painted_in_single_precision(monkeypatch):
    """A float64 that slips in would round otherwise where another NumPy promotes otherwise."""

    def strict(function):
        def called(*arguments, **named):
            given = [each for each in (*arguments, *named.values()) if isinstance(each, np.ndarray | np.generic)]
            assert {array.dtype for array in given} <= {np.dtype(np.float32)}
            return function(*arguments, **named)

        return called

    monkeypatch.setattr(Canvas, "paint", strict(Canvas.paint))
    for module in (features, renderer):
        for name in ("ellipse", "soft"):
            monkeypatch.setattr(module, name, strict(getattr(module, name)))
    render(draw(MIXED, 5))


def test_quotas_are_met_and_the_seed_alone_decides():
    first, again, other = draw(MIXED, 6), draw(MIXED, 6), draw(MIXED, 7)
    assert tuple(np.bincount(first.tone)) == MIXED.tones
    assert tuple(np.bincount(first.age)) == MIXED.ages
    assert first.glasses.sum() == MIXED.glasses
    assert (first.monk == again.monk).all()
    assert (first.x == again.x).all()
    assert (first.x != other.x).any()


def test_a_triangle_wave_has_period_one():
    at = np.array([0.0, 0.25, 0.5, 0.75, 1.0, -0.25], dtype=np.float32)
    assert triangle(at).tolist() == [1.0, 0.5, 0.0, 0.5, 1.0, 0.5]
