"""Pictures of one size, one after the other, into one array."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from os import cpu_count
from pathlib import Path

import numpy as np

from ldm_eval.errors import DataError
from ldm_eval_images.pictures import Pixels, bombs_are_errors, decode

_BLOCK = 256
_THREADS_FROM = 32_768
"""Pixels of the first picture from which threads pay: 2,000 of 32x32 take 0.10 s without and 0.42 s with them,
100 of 256x256 take 0.083 s and 0.049 s (four cores)."""


def gather(names: Sequence[str], source: Callable[[str], Path | bytes]) -> Pixels:
    """Decode pictures into ``(N, C, H, W)``; C is 1 when every file is stored in grey, else 3; uint8, or all uint16.

    Large files are decoded a few hundred at a time by a small pool of threads; every picture goes straight into the
    one array that is returned.

    Args:
        names: N names, in the order of the result.
        source: Name -> the file, or its bytes.

    Raises:
        DataError: a picture cannot be used, sizes or bit depths differ, or the set does not fit in memory.
    """
    pixels: Pixels | None = None
    for position, picture in enumerate(_decoded(names, source)):
        if pixels is None:
            pixels = _allocate((len(names), *picture.shape), picture.dtype)
        if picture.shape[1:] != pixels.shape[2:]:
            raise DataError(_mixed_sizes(names[0], pixels.shape, names[position], picture.shape))
        if picture.dtype != pixels.dtype:
            raise DataError(_mixed_depths(names[0], pixels, names[position], picture))
        if picture.shape[0] > pixels.shape[1]:
            pixels = _in_colour(pixels, position)
        pixels[position] = picture
    if pixels is None:
        raise DataError("There are no pictures to read.")
    return pixels


def _decoded(names: Sequence[str], source: Callable[[str], Path | bytes]) -> Iterator[Pixels]:
    with bombs_are_errors():
        if not names:
            return
        first = decode(source(names[0]), names[0])
        yield first
        if first[0].size < _THREADS_FROM:
            yield from (decode(source(name), name) for name in names[1:])
            return
        with ThreadPoolExecutor(max_workers=min(8, cpu_count() or 1)) as pool:
            for start in range(1, len(names), _BLOCK):
                block = names[start : start + _BLOCK]
                yield from pool.map(decode, [source(name) for name in block], block)


def _allocate(shape: tuple[int, ...], dtype: np.dtype[np.uint8 | np.uint16]) -> Pixels:
    try:
        return np.empty(shape, dtype=dtype)
    except MemoryError as error:
        size = np.prod(shape, dtype=np.float64) * dtype.itemsize / 1e9
        raise DataError(f"{shape[0]} images need {size:.1f} GB of memory; use fewer or smaller ones.") from error


def _in_colour(pixels: Pixels, filled: int) -> Pixels:
    """The first ``filled`` images were grey and a colour one follows: replicate them."""
    colour = _allocate((pixels.shape[0], 3, *pixels.shape[2:]), pixels.dtype)
    colour[:filled] = pixels[:filled]
    return colour


def _mixed_depths(first: str, one: Pixels, other: str, another: Pixels) -> str:
    return (
        f"All images of a set must have one depth: '{first}' has {8 * one.itemsize} bits per channel and '{other}' has "
        f"{8 * another.itemsize}, and a grey level of one is none of the other. Save them all alike, or split the set."
    )


def _mixed_sizes(first: str, first_shape: tuple[int, ...], other: str, other_shape: tuple[int, ...]) -> str:
    def size(shape: tuple[int, ...]) -> str:
        return f"{shape[-1]}x{shape[-2]}"

    return (
        f"All images of a set must have one size: '{first}' is {size(first_shape)} and '{other}' is "
        f"{size(other_shape)} (width x height). Resize them all with one method, or split the set."
    )
