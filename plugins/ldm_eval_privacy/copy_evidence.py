"""The private side of a copy report: which sample shows which training image. Never part of a card."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from ldm_eval.api import ImageSet
from ldm_eval.errors import StoreError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

__all__ = ["CopyPair", "picture", "write_pairs"]

PAIRS_SHOWN = 20
_GAP = 4


@dataclass(frozen=True, slots=True)
class CopyPair:
    """One image and the training image it is close to, by their rows in their sets."""

    image: int
    training: int
    mirrored: bool
    rule: str
    difference: float
    ratio: float | None


def write_pairs(
    folder: Path | None,
    name: str,
    pairs: Sequence[CopyPair],
    images: ImageSet,
    training: ImageSet,
    measure: str = "rms_grey_levels",
) -> str:
    """Write ``NAME.csv`` with all pairs (at least one) and ``NAME.png`` with the closest; say so in a sentence.

    ``measure`` says what a pair's difference is. Where the training set came as features alone there is no picture.

    Raises:
        StoreError: when the folder cannot be written.
    """
    if folder is None:
        return f"{len(pairs)} pairs were found and not written: this run has no private folder."
    ordered = sorted(pairs, key=lambda pair: (pair.difference, pair.image))
    shown = ordered[:PAIRS_SHOWN]
    try:
        folder.mkdir(parents=True, exist_ok=True)
        _write_csv(folder / f"{name}.csv", ordered, images, training, measure)
        if training.has_pixels:
            _write_panels(folder / f"{name}.png", shown, images, training)
    except OSError as error:
        raise StoreError(f"The evidence of copies could not be written to {folder}: {error}.") from error
    pictures = f", and the closest {len(shown)} shown," if training.has_pixels else ""
    return f"{len(pairs)} pairs are listed{pictures} in the run's private folder."


def _write_csv(path: Path, pairs: Sequence[CopyPair], images: ImageSet, training: ImageSet, measure: str) -> None:
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(["image_id", "training_id", "mirrored", "rule", measure, "distance_ratio"])
        for pair in pairs:
            ratio = "" if pair.ratio is None else f"{pair.ratio:.6g}"
            ids = images.ids[pair.image], training.ids[pair.training]
            writer.writerow([*ids, int(pair.mirrored), pair.rule, f"{pair.difference:.6g}", ratio])


def _write_panels(path: Path, pairs: Sequence[CopyPair], images: ImageSet, training: ImageSet) -> None:
    import numpy as np
    from PIL import Image

    rows = []
    for pair in pairs:
        left, right = picture(images, pair.image), picture(training, pair.training)
        if left.shape != right.shape:  # sets of two sizes can be compared by features
            right = np.asarray(Image.fromarray(right).resize((left.shape[1], left.shape[0])))
        gap = np.full((left.shape[0], _GAP, 3), 255, dtype=np.uint8)
        rows.append(np.concatenate([left, gap, right], axis=1))
        rows.append(np.full((_GAP, rows[0].shape[1], 3), 255, dtype=np.uint8))
    Image.fromarray(np.concatenate(rows[:-1])).save(path)


def picture(images: ImageSet, row: int) -> NDArray[np.uint8]:
    """Image ``row`` as ``(H, W, 3)``, small ones enlarged by a whole factor."""
    import numpy as np

    pixels = images.rgb(row, row + 1)[0].transpose(1, 2, 0)
    factor = max(1, 64 // pixels.shape[0])
    return np.repeat(np.repeat(pixels, factor, axis=0), factor, axis=1)
