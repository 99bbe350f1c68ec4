"""The demo's images: the 1,797 real handwritten digits of the UCI set, 8x8 grey, split once into members and holdout.

Source: "Optical Recognition of Handwritten Digits", E. Alpaydin and C. Kaynak, UCI Machine Learning Repository
(doi 10.24432/C50P49), CC BY 4.0; the test half, as scikit-learn ships it. The 17 grey levels 0..16 are stored as
``round(level * 255 / 16)``.

``python -m ldm_eval_demo.digits`` makes ``digits.npz`` again (with the extra ``examples``); the bytes are the same.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from ldm_eval.api import DataRef, ImageSet
from ldm_eval.errors import DataError
from ldm_eval.stats.digests import image_digest

__all__ = ["load"]

ARCHIVE = Path(__file__).with_name("digits.npz")
LICENCE = "CC-BY-4.0 (UCI Optical Recognition of Handwritten Digits, doi 10.24432/C50P49)"
SPLITS = ("train", "holdout")


def load(ref: DataRef, split: str) -> ImageSet:
    """Read one half: ``train`` (members) or ``holdout``.

    Raises:
        DataError: for another split.
    """
    if split not in SPLITS:
        raise DataError(f"Dataset '{ref.text}': it has no split '{split}', only {' and '.join(SPLITS)}.")
    with np.load(ARCHIVE, allow_pickle=False) as stored:
        chosen = np.flatnonzero(stored["holdout"] == (split == "holdout"))
        pixels = stored["arr_0"][chosen].transpose(0, 3, 1, 2).copy()
        digits = stored["digit"][chosen].astype(np.int64)
    return ImageSet(
        name="demo",
        split=split,
        pixels=pixels,
        ids=tuple(f"uci-{row:04d}" for row in chosen),
        digest=image_digest(pixels),
        groups={"digit": digits.astype(str)},
        labels=digits,
        licence=LICENCE,
    )


def make(seed: int = 0) -> None:
    """Write ``digits.npz``: pixels, digit, and which half each image is in (stratified by digit)."""
    from sklearn.datasets import load_digits

    source = load_digits()
    pixels = np.round(source.images * 255 / 16).astype(np.uint8)[..., None]
    holdout = np.zeros(len(pixels), dtype=bool)
    rng = np.random.Generator(np.random.PCG64(seed))
    for digit in range(10):
        rows = rng.permutation(np.flatnonzero(source.target == digit))
        holdout[rows[(len(rows) + 1) // 2 :]] = True
    np.savez_compressed(ARCHIVE, arr_0=pixels, digit=source.target.astype(np.uint8), holdout=holdout)


if __name__ == "__main__":
    make()
