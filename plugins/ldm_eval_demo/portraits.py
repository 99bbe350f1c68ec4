"""The demo's images: small painted portraits of people who do not exist, with declared attributes and planted truths.

1,600 training rows and 800 held-out ones, 32x32 colour, painted by ``renderer`` whenever they are asked for (about a
second); a test pins their digests. What is planted, so that findings can be compared with the truth:

- **A skew.** Both splits have the shares in ``SHARES`` exactly: 60 % light, 28 % medium and 12 % deep skin tones; 20 %
  children, 55 % adults, 25 % older people; 25 % with glasses. Attributes are combined at random.
- **Duplicates.** ``PLANTED`` pictures are in the training split ``COPIES`` times each, 160 rows in all, with the
  same shares of tones (5 light, 2 medium, 1 deep) as nearly as eight allow; none is in the holdout. Their ids end in
  ``-copy01`` ... ``-copy20``; ``planted()`` lists them.

Holdout and training portraits are drawn by the same law from different seeds: nothing but the duplicates tells them
apart. Columns: ``skin tone``, ``monk tone``, ``age band``, ``glasses``, ``hair``, as painted, not as perceived.
"""

from __future__ import annotations

from functools import cache
from typing import Final

import numpy as np
from numpy.typing import NDArray

from ldm_eval.api import DataRef, ImageSet
from ldm_eval.errors import DataError, did_you_mean
from ldm_eval.stats.digests import image_digest
from ldm_eval_demo import PORTRAITS
from ldm_eval_demo.attributes import AGES, HAIR, TONES, draw
from ldm_eval_demo.renderer import render
from ldm_eval_demo.sitters import Quotas, Sitters

__all__ = ["COPIES", "HOLDOUT", "NAME", "PLANTED", "SHARES", "SPLITS", "TRAINING", "load", "planted"]

NAME: Final = PORTRAITS
LICENCE: Final = (
    "Apache-2.0 (painted by a program; skin tones from the Monk Skin Tone Scale, CC-BY-4.0, skintone.google)"
)
SPLITS: Final = ("train", "holdout")

TRAINING: Final = Quotas(tones=(960, 448, 192), ages=(320, 880, 400), glasses=400)
"""Rows of the training split by attribute, duplicates counted as often as they are there."""

HOLDOUT: Final = Quotas(tones=(480, 224, 96), ages=(160, 440, 200), glasses=200)

SHARES: Final = {
    "skin tone": {"light": 0.60, "medium": 0.28, "deep": 0.12},
    "age band": {"child": 0.20, "adult": 0.55, "older": 0.25},
    "glasses": {"yes": 0.25, "no": 0.75},
}
"""The declared law of both splits."""

PLANTED: Final = 8
COPIES: Final = 20
_PLANTED_QUOTAS: Final = Quotas(tones=(5, 2, 1), ages=(1, 5, 2), glasses=2)
_SEEDS: Final = {"planted": 20190, "train": 20191, "holdout": 20192, "order": 20193}


def planted() -> tuple[tuple[str, ...], ...]:
    """Ids of the planted duplicates: one tuple per picture, holding the ids of all its rows in the training split."""
    return tuple(tuple(_copy_id(picture, copy) for copy in range(COPIES)) for picture in range(PLANTED))


def load(ref: DataRef, split: str) -> ImageSet:
    """Paint one split: ``train`` (members) or ``holdout``.

    Raises:
        DataError: for another split.
    """
    if split not in SPLITS:
        raise DataError(
            f"Dataset '{ref.text}': it has no split '{split}', only {' and '.join(SPLITS)}."
            f"{did_you_mean(split, SPLITS)}"
        )
    return _split(split)


@cache
def _split(split: str) -> ImageSet:
    sitters, rows, ids = _training() if split == "train" else _holdout()
    pixels = render(sitters)[rows]
    pixels.setflags(write=False)
    return ImageSet(
        name=NAME,
        split=split,
        pixels=pixels,
        ids=ids,
        digest=image_digest(pixels),
        groups=_groups(sitters.take(rows)),
        labels=sitters.tone[rows],
        licence=LICENCE,
    )


def _training() -> tuple[Sitters, NDArray[np.int64], tuple[str, ...]]:
    """Sitters, the row of ``sitters`` that each image shows, and ids; the planted come first among the sitters."""
    first = draw(_PLANTED_QUOTAS, _SEEDS["planted"])
    rest = draw(TRAINING.less(_PLANTED_QUOTAS, COPIES), _SEEDS["train"])
    shown = np.concatenate([np.repeat(np.arange(PLANTED), COPIES), PLANTED + np.arange(len(rest))])
    names = [name for picture in planted() for name in picture]
    names += [f"train-{row:04d}" for row in range(PLANTED, PLANTED + len(rest))]
    order = np.argsort(np.random.PCG64(_SEEDS["order"]).random_raw(len(shown)), kind="stable")
    return Sitters.joined(first, rest), shown[order], tuple(names[row] for row in order)


def _holdout() -> tuple[Sitters, NDArray[np.int64], tuple[str, ...]]:
    sitters = draw(HOLDOUT, _SEEDS["holdout"])
    return sitters, np.arange(len(sitters)), tuple(f"holdout-{row:04d}" for row in range(len(sitters)))


def _copy_id(picture: int, copy: int) -> str:
    return f"train-{picture:04d}-copy{copy + 1:02d}"


def _groups(sitters: Sitters) -> dict[str, NDArray[np.str_]]:
    return {
        "skin tone": np.array(TONES)[sitters.tone],
        "monk tone": (sitters.monk + 1).astype(np.str_),
        "age band": np.array(AGES)[sitters.age],
        "glasses": np.array(["no", "yes"])[sitters.glasses.astype(np.int64)],
        "hair": np.array(HAIR)[sitters.hair],
    }
