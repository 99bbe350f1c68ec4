"""What an image gives away without any network: levels, edges, spectrum, traces of block codecs, a thumbnail."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

__all__ = ["image_statistics"]

_THUMBNAIL = 4
_RINGS = 8


def image_statistics(pixels: NDArray[np.uint8]) -> NDArray[np.float64]:
    """Describe each image by numbers in which codecs, scaling, exposure and coarse content differ.

    Mean, spread and extremes; shares of 0, of 1..8 (a lossy codec's ringing on black) and of 255; number of different
    levels; edge strength along rows and columns, inside and across 8x8 blocks; energy in eight rings of the spectrum;
    a 4x4 thumbnail of each channel.

    Args:
        pixels: ``(N, C, H, W) uint8``.

    Returns:
        ``(N, F) float64``, finite.
    """
    import numpy as np

    return np.concatenate([_describe(pixels[start : start + 256]) for start in range(0, len(pixels), 256)])


def _describe(block: NDArray[np.uint8]) -> NDArray[np.float64]:
    import numpy as np

    values = np.asarray(block, dtype=np.float64)
    grey = values.mean(axis=1)
    return np.concatenate(
        [_levels(np.asarray(block)), _edges(grey), _spectrum(grey), _thumbnail(values)], axis=1, dtype=np.float64
    )


def _levels(block: NDArray[np.uint8]) -> NDArray[np.float64]:
    import numpy as np

    flat = block.reshape(len(block), -1)
    ordered = np.sort(flat, axis=1)
    different = 1 + (np.diff(ordered, axis=1) != 0).sum(axis=1)
    columns = [
        flat.mean(axis=1),
        flat.std(axis=1),
        flat.min(axis=1),
        flat.max(axis=1),
        (flat == 0).mean(axis=1),
        ((flat > 0) & (flat <= 8)).mean(axis=1),
        (flat == 255).mean(axis=1),
        np.log(different),
    ]
    return np.stack([np.asarray(column, dtype=np.float64) for column in columns], axis=1)


def _edges(grey: NDArray[np.float64]) -> NDArray[np.float64]:
    import numpy as np

    columns = []
    for image in (grey, grey.transpose(0, 2, 1)):
        step = np.abs(np.diff(image, axis=2)).mean(axis=1)  # (n, W-1)
        across = np.arange(step.shape[1]) % 8 == 7
        inside = step[:, ~across].mean(axis=1) if (~across).any() else np.zeros(len(step))
        border = step[:, across].mean(axis=1) if across.any() else inside
        columns += [np.log1p(inside), np.log1p(border) - np.log1p(inside)]
    return np.stack(columns, axis=1)


def _spectrum(grey: NDArray[np.float64]) -> NDArray[np.float64]:
    import numpy as np

    height, width = grey.shape[1:]
    power = np.abs(np.fft.rfft2(grey, norm="ortho")) ** 2
    radius = np.hypot(np.fft.fftfreq(height)[:, None], np.fft.rfftfreq(width)[None, :])
    ring = np.minimum((radius / 0.5 * _RINGS).astype(int), _RINGS - 1)
    energy = [power[:, ring == r].mean(axis=1) for r in range(_RINGS) if (ring == r).any()]
    return np.asarray(np.log1p(np.stack(energy, axis=1)))


def _thumbnail(values: NDArray[np.float64]) -> NDArray[np.float64]:
    import numpy as np

    def cells(size: int) -> NDArray[np.int64]:
        return np.unique(np.linspace(0, size, _THUMBNAIL, endpoint=False).astype(np.int64))

    sums = np.add.reduceat(np.add.reduceat(values, cells(values.shape[2]), axis=2), cells(values.shape[3]), axis=3)
    return np.asarray(sums.reshape(len(values), -1))
