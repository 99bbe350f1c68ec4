"""What may happen to images between training and a sample: mirrored, cropped, re-encoded, blurred copies, lost modes.

All take and give ``(N, C, H, W) uint8`` and leave their input as it was.
"""

from __future__ import annotations

import io
from collections.abc import Callable, Mapping, Sequence

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from ldm_eval.errors import DataError

__all__ = ["DISGUISES", "blurred", "cropped", "mirrored", "reencoded", "rows_of_kept_modes"]

Pixels = NDArray[np.uint8]


def mirrored(pixels: Pixels) -> Pixels:
    """Left and right exchanged."""
    return np.ascontiguousarray(pixels[..., ::-1])


def cropped(pixels: Pixels, share: float = 0.1) -> Pixels:
    """Cut ``share`` of the size off (half on each side, at least one pixel) and stretch back, bilinearly.

    Raises:
        DataError: when nothing would be left.
    """
    height, width = pixels.shape[2:]
    top, left = max(1, round(height * share / 2)), max(1, round(width * share / 2))
    if 2 * top >= height or 2 * left >= width:
        raise DataError(f"Images of {height} x {width} pixels cannot lose {share:.0%} of their size.")
    box = (left, top, width - left, height - top)
    return _each(pixels, lambda image: image.resize((width, height), Image.Resampling.BILINEAR, box=box))


def reencoded(pixels: Pixels, quality: int = 75) -> Pixels:
    """Saved as JPEG at ``quality`` and read again."""

    def through_jpeg(image: Image.Image) -> Image.Image:
        buffer = io.BytesIO()
        image.save(buffer, "JPEG", quality=quality)
        return Image.open(io.BytesIO(buffer.getvalue()))

    return _each(pixels, through_jpeg)


def blurred(pixels: Pixels, sigma: float = 1.0) -> Pixels:
    """Convolved with a Gaussian of standard deviation ``sigma`` pixels, edges replicated, rounded."""
    from scipy.ndimage import gaussian_filter

    smooth = gaussian_filter(pixels.astype(np.float64), (0, 0, sigma, sigma), mode="nearest")
    return np.rint(smooth).clip(0, 255).astype(np.uint8)


def rows_of_kept_modes(
    labels: NDArray[np.int64], keep: Sequence[int], n: int, rng: np.random.Generator
) -> NDArray[np.int64]:
    """Rows ``(n,) int64`` of a generator that dropped every mode but ``keep``, drawn without repeats.

    Raises:
        DataError: when the kept modes hold fewer than ``n`` rows.
    """
    rows = np.flatnonzero(np.isin(labels, list(keep)))
    if len(rows) < n:
        raise DataError(f"{n} rows of the modes {list(keep)} were asked for; there are {len(rows)}.")
    return rng.choice(rows, size=n, replace=False)


DISGUISES: Mapping[str, Callable[[Pixels], Pixels]] = {
    "exact": lambda pixels: pixels.copy(),
    "mirrored": mirrored,
    "cropped": cropped,
    "reencoded": reencoded,
    "blurred": blurred,
}
"""How a copy may differ from its original, by the name that ``phantom:copier?disguise=...`` takes."""


def _each(pixels: Pixels, change: Callable[[Image.Image], Image.Image]) -> Pixels:
    result = np.empty_like(pixels)
    for row, image in enumerate(pixels):
        grey = image.shape[0] == 1
        picture = Image.fromarray(image[0] if grey else np.ascontiguousarray(image.transpose(1, 2, 0)))
        changed = np.asarray(change(picture))
        result[row] = changed[None] if grey else changed.transpose(2, 0, 1)
    return result
