"""One picture file into one array, by rules that are written down.

What is kept is what the file stores: 8-bit grey or RGB pixels. Nothing is guessed: a file whose pixels would have to be
reinterpreted (16 bits, CMYK, transparency, animation) is refused with what to do about it. EXIF orientation and colour
profiles are not applied.
"""

from __future__ import annotations

import contextlib
import io
import struct
import warnings
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageFile, UnidentifiedImageError

from ldm_eval.errors import DataError

SUFFIXES = (".png", ".jpg", ".jpeg", ".bmp", ".webp", ".tif", ".tiff", ".gif")
"""File names that count as pictures (any case); everything else in a folder or zip is left alone."""

MAX_PIXELS = 64_000_000
"""Largest picture that is decoded; a compressed file can claim far more than it holds."""

_GREY = {"1", "L"}
_RGB = {"RGB"}
_ALPHA = {"LA", "RGBA"}
_BROKEN = (OSError, SyntaxError, ValueError, EOFError, IndexError, struct.error)


def is_picture_name(name: str) -> bool:
    """True for a file name that ends like a picture and is not hidden (``.x``, ``__MACOSX/x``)."""
    parts = [part for part in name.split("/") if part not in (".", "..")]
    hidden = any(part.startswith((".", "__MACOSX")) for part in parts)
    return not hidden and name.lower().endswith(SUFFIXES)


@contextlib.contextmanager
def bombs_are_errors() -> Iterator[None]:
    """Turn Pillow's decompression-bomb warning into an error; enter it once, in the main thread, around decoding."""
    with warnings.catch_warnings():
        warnings.simplefilter("error", Image.DecompressionBombWarning)
        yield


def decode(source: Path | bytes, name: str) -> NDArray[np.uint8]:
    """Decode one picture.

    Args:
        source: The file, or its bytes.
        name: How messages call it.

    Returns:
        ``(C, H, W) uint8``, C = 1 for files stored in grey and 3 for colour and palette files. Alpha that is opaque
        everywhere is dropped.

    Raises:
        DataError: unreadable, truncated, too large, animated, 16-bit, CMYK or partly transparent.
    """
    try:
        with Image.open(source if isinstance(source, Path) else io.BytesIO(source)) as picture:
            _refuse_what_is_not_plain(picture, name)
            picture.load()
            return _pixels(picture, name)
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        raise DataError(f"'{name}' claims to be larger than any picture that is read here ({error}).") from error
    except UnidentifiedImageError as error:
        raise DataError(f"'{name}' is not a picture that can be read; remove it or save it as PNG.") from error
    except MemoryError as error:
        raise DataError(f"'{name}' does not fit in memory.") from error
    except _BROKEN as error:
        raise DataError(f"'{name}' cannot be decoded ({error}); it may be truncated. Replace or remove it.") from error


def _refuse_what_is_not_plain(picture: Image.Image, name: str) -> None:
    width, height = picture.size
    if width * height > MAX_PIXELS:
        raise DataError(f"'{name}' is {width}x{height}, more than {MAX_PIXELS:,} pixels; make it smaller.")
    frames = getattr(picture, "n_frames", 1)
    if frames > 1:
        raise DataError(
            f"'{name}' holds {frames} frames; animated files are refused. Save the frames as single images."
        )
    bits = _bits_per_channel(picture)
    if bits > 8:
        raise DataError(f"'{name}' has {bits} bits per channel; save it with 8 (values 0 to 255) first.")
    if picture.mode not in _GREY | _RGB | _ALPHA | {"P"}:
        raise DataError(f"'{name}' is stored as {picture.mode}; convert it to 8-bit RGB or greyscale first.")


def _bits_per_channel(picture: Image.Image) -> int:
    """Bits per channel as the file says: Pillow cuts 16-bit RGB down to 8 without a word, so the mode is not enough."""
    if picture.mode.startswith("I;16"):
        return 16
    if picture.mode in {"I", "F"}:
        return 32
    if picture.format == "PNG" and isinstance(picture, ImageFile.ImageFile) and picture.tile:
        return 16 if str(picture.tile[0][3]).endswith(";16B") else 8
    if picture.format == "TIFF":
        bits = picture.tag_v2.get(258, (8,))  # type: ignore[attr-defined]
        return max(bits) if isinstance(bits, tuple) else int(bits)
    return 8


def _pixels(picture: Image.Image, name: str) -> NDArray[np.uint8]:
    if picture.mode in _ALPHA or "transparency" in picture.info:
        picture = _without_alpha(picture, name)
    if picture.mode == "P":
        picture = picture.convert("RGB")
    elif picture.mode == "1":
        picture = picture.convert("L")
    array = np.asarray(picture, dtype=np.uint8)
    return array[None] if array.ndim == 2 else array.transpose(2, 0, 1)


def _without_alpha(picture: Image.Image, name: str) -> Image.Image:
    grey = picture.mode in {"L", "LA", "1"}
    full = picture.convert("LA" if grey else "RGBA")
    low, _ = full.getchannel("A").getextrema()
    if isinstance(low, tuple) or low < 255:
        raise DataError(f"'{name}' is partly transparent; paste it onto a background and save it without alpha first.")
    return full.convert("L" if grey else "RGB")
