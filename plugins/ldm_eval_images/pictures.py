"""One picture file into one array, by rules that are written down.

What is kept is what the file stores: 8-bit grey or RGB pixels, or 16-bit grey. Nothing is guessed: a file whose pixels
would have to be reinterpreted (16-bit colour, CMYK, transparency, animation) is refused with what to do about it. EXIF
orientation and colour profiles are not applied.
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

_FORMATS = ("PNG", "JPEG", "BMP", "WEBP", "TIFF", "GIF")
"""What those names stand for. Pillow goes by content and knows forty more, among them PostScript, which it has
Ghostscript run, and SGI, whose 16 bits it cuts to 8 in silence."""

MAX_PIXELS = 64_000_000
"""Largest picture that is decoded; a compressed file can claim far more than it holds."""

_GREY = {"1", "L"}
_RGB = {"RGB"}
_ALPHA = {"LA", "RGBA"}
_GREY_16 = {"I;16", "I;16B", "I;16L", "I"}  # older versions of Pillow open 16-bit PNGs as I
_BITS_PER_SAMPLE, _PHOTOMETRIC, _BLACK_IS_ZERO, _SAMPLE_FORMAT, _UNSIGNED = 258, 262, 1, 339, 1
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


Pixels = NDArray[np.uint8 | np.uint16]


def decode(source: Path | bytes, name: str) -> Pixels:
    """Decode one picture.

    Args:
        source: The file, or its bytes.
        name: How messages call it.

    Returns:
        ``(C, H, W)``, C = 1 for files stored in grey and 3 for colour and palette files; uint16 for 16-bit grey PNG and
        TIFF, else uint8. Alpha that is opaque everywhere is dropped.

    Raises:
        DataError: unreadable, truncated, too large, animated, 16-bit colour, CMYK or partly transparent.
    """
    try:
        with Image.open(source if isinstance(source, Path) else io.BytesIO(source), formats=_FORMATS) as picture:
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
    if bits == 16 and _is_plain_grey_16(picture):
        return
    if bits > 8:
        raise DataError(
            f"'{name}' has {bits} bits per channel; save it with 8 (values 0 to 255) first. With 16, only grey without "
            "transparency is read from pictures (unsigned, black is 0); an npz (arr_0, uint16) may hold 16-bit colour."
        )
    if picture.mode not in _GREY | _RGB | _ALPHA | {"P"}:
        raise DataError(f"'{name}' is stored as {picture.mode}; convert it to 8-bit RGB or greyscale first.")


def _bits_per_channel(picture: Image.Image) -> int:
    """Bits per channel as the file says: Pillow cuts 16-bit RGB down to 8 without a word, so the mode is not enough."""
    if picture.format == "PNG" and isinstance(picture, ImageFile.ImageFile) and picture.tile:
        return 16 if str(picture.tile[0][3]).endswith(";16B") else 8
    return _tag(picture, _BITS_PER_SAMPLE, 8) if picture.format == "TIFF" else 8


def _tag(picture: Image.Image, number: int, default: int) -> int:
    """A tag of a TIFF; the largest where it holds one value per channel."""
    value = picture.tag_v2.get(number, default)  # type: ignore[attr-defined]
    return int(max(value)) if isinstance(value, tuple) else int(value)


def _is_plain_grey_16(picture: Image.Image) -> bool:
    """One channel of whole numbers, black at 0: Pillow neither turns other photometric readings nor keeps signs."""
    if picture.mode not in _GREY_16 or "transparency" in picture.info:
        return False
    if picture.format == "TIFF":
        black = _tag(picture, _PHOTOMETRIC, -1) == _BLACK_IS_ZERO
        return black and _tag(picture, _SAMPLE_FORMAT, _UNSIGNED) == _UNSIGNED
    return picture.format == "PNG"


def _pixels(picture: Image.Image, name: str) -> Pixels:
    if picture.mode in _GREY_16:
        return np.asarray(picture).astype(np.uint16)[None]
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
