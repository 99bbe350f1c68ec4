"""Images in an npz file: key ``arr_0``, ``(N, H, W, C)`` or ``(N, H, W)`` uint8 or uint16. Nothing is unpickled.

Class labels may stand beside them under ``arr_1``, ``(N,)`` whole numbers: sample batches of ADM are such files.
"""

from __future__ import annotations

import math
import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import IO

import numpy as np
from numpy.lib import format as npy
from numpy.typing import NDArray

from ldm_eval.api import ImageSet
from ldm_eval.errors import DataError
from ldm_eval.stats.digests import image_digest
from ldm_eval_images.broken import BROKEN_ZIP
from ldm_eval_images.labels import beside, read_annotations
from ldm_eval_images.pictures import Pixels

KEY = "arr_0"
LABELS = "arr_1"
_BLOCK_BYTES = 1 << 24


@dataclass(frozen=True, slots=True)
class _Header:
    """What an npy member says of itself."""

    shape: tuple[int, ...]
    fortran: bool
    dtype: np.dtype[np.generic]


def holds_arrays(path: Path) -> bool:
    """True for an npz file that has the key ``arr_0``."""
    try:
        with zipfile.ZipFile(path) as archive:
            return f"{KEY}.npy" in archive.namelist()
    except BROKEN_ZIP:
        return False


def read_npz(path: Path) -> ImageSet:
    """Read the images of an npz file; ids are row numbers from 0.

    Labels come from ``<file>.csv`` beside it (``digits.npz.csv`` or ``digits.csv``), else from ``arr_1``.

    The array is read in blocks, straight into the ``(N, C, H, W)`` result.

    Raises:
        DataError: no file, not a whole npz, another key, type or shape, no images, or labels that contradict.
    """
    if not path.is_file():
        raise DataError(f"There is no file '{path}'. Give a folder of pictures, a zip or an npz file.")
    try:
        with zipfile.ZipFile(path) as archive:
            pixels = _read(archive, path)
            inside = _labels(archive, path, len(pixels))
    except BROKEN_ZIP as error:
        size = path.stat().st_size
        raise DataError(
            f"'{path}' ({size:,} bytes) is not a whole npz file ({error}); copy or save it again."
        ) from error
    except MemoryError as error:
        raise DataError(f"The images of '{path}' do not fit in memory.") from error
    ids = tuple(str(row) for row in range(pixels.shape[0]))
    notes = read_annotations(beside(path), ids)
    if inside is not None and notes.labels is not None and not np.array_equal(inside, notes.labels):
        raise DataError(f"The labels in '{path}' ('{LABELS}') are not those in '{beside(path)}'; remove one of them.")
    return ImageSet(
        name=path.stem,
        split="",
        pixels=pixels,
        ids=ids,
        digest=image_digest(pixels),
        groups=notes.groups,
        labels=inside if notes.labels is None else notes.labels,
        prompts=notes.prompts,
    )


def _read(archive: zipfile.ZipFile, path: Path) -> Pixels:
    if f"{KEY}.npy" not in archive.namelist():
        names = [name.removesuffix(".npy") for name in archive.namelist()]
        raise DataError(
            f"'{path}' holds {', '.join(repr(name) for name in names[:8]) or 'nothing'}; images are expected under the "
            f"key '{KEY}'. Save them with numpy.savez(file, images)."
        )
    member = archive.getinfo(f"{KEY}.npy")
    if member.flag_bits & 0x1:
        raise DataError(f"'{path}' is encrypted; save it again without a password.")
    with archive.open(member) as stream:
        header = _header(stream, KEY, path)
        shape = _checked_shape(header, path)
        needed = math.prod(header.shape) * header.dtype.itemsize
        if member.file_size < needed:
            raise DataError(f"'{path}' promises {needed:,} bytes of pixels and holds {member.file_size:,}.")
        if header.fortran:
            flat = np.frombuffer(_exactly(stream, needed, path), header.dtype).astype(_native(header.dtype))
            return np.ascontiguousarray(flat.reshape(shape, order="F").transpose(0, 3, 1, 2))
        return _in_blocks(stream, shape, header.dtype, path)


def _native(dtype: np.dtype[np.generic]) -> type[np.uint8] | type[np.uint16]:
    """The type in this machine's byte order."""
    return np.uint8 if dtype.itemsize == 1 else np.uint16


def _labels(archive: zipfile.ZipFile, path: Path, count: int) -> NDArray[np.int64] | None:
    """``arr_1`` where it is a row of whole numbers, as ADM writes the classes it drew; anything else is no label."""
    if f"{LABELS}.npy" not in archive.namelist():
        return None
    with archive.open(f"{LABELS}.npy") as stream:
        header = _header(stream, LABELS, path)
        if header.dtype.kind not in "iu" or len(header.shape) != 1:
            return None
        if header.shape != (count,):
            raise DataError(f"'{path}' has {count} images and {header.shape[0]} labels ('{LABELS}'); one is cut off.")
        found = np.frombuffer(_exactly(stream, count * header.dtype.itemsize, path), header.dtype)
    if int(found.max()) > np.iinfo(np.int64).max:
        raise DataError(f"'{path}' has a label of {found.max()} ('{LABELS}'), which no 64-bit number holds.")
    return found.astype(np.int64)


def _header(stream: IO[bytes], key: str, path: Path) -> _Header:
    try:
        version = npy.read_magic(stream)
        read = npy.read_array_header_1_0 if version == (1, 0) else npy.read_array_header_2_0
        shape, fortran, dtype = read(stream)
    except BROKEN_ZIP:
        raise
    except Exception as error:  # numpy tokenises and parses the header: whatever it stumbles over, it is the file
        raise DataError(f"'{key}' in '{path}' is not an array that can be read ({error}).") from error
    return _Header(shape, fortran, dtype)


def _checked_shape(header: _Header, path: Path) -> tuple[int, int, int, int]:
    """``(N, H, W, C)`` of the array; ``(N, H, W)`` is grey."""
    found = f"'{KEY}' in '{path}' is {header.dtype} {header.shape}"
    if header.dtype.name not in ("uint8", "uint16"):
        raise DataError(
            f"{found}; images are expected as uint8, 0 to 255, or uint16, 0 to 65535. Convert them and save again."
        )
    shape = (*header.shape, 1) if len(header.shape) == 3 else header.shape
    if len(shape) != 4 or shape[3] not in (1, 3):
        first = len(shape) == 4 and shape[1] in (1, 3)
        hint = " Its channels seem to come first: transpose with (0, 2, 3, 1)." if first else ""
        raise DataError(f"{found}; expected (N, H, W, C) with C = 1 or 3, or (N, H, W).{hint}")
    if not all(type(size) is int and size > 0 for size in shape):
        raise DataError(f"{found}: there is not one pixel in it.")
    return shape[0], shape[1], shape[2], shape[3]


def _in_blocks(stream: IO[bytes], shape: tuple[int, int, int, int], dtype: np.dtype[np.generic], path: Path) -> Pixels:
    count, height, width, channels = shape
    pixels: Pixels = np.empty((count, channels, height, width), _native(dtype))
    each = height * width * channels * dtype.itemsize
    rows = max(1, _BLOCK_BYTES // each)
    for start in range(0, count, rows):
        stop = min(count, start + rows)
        block = np.frombuffer(_exactly(stream, (stop - start) * each, path), dtype)
        pixels[start:stop] = block.reshape(stop - start, height, width, channels).transpose(0, 3, 1, 2)
    return pixels


def _exactly(stream: IO[bytes], size: int, path: Path) -> bytes:
    data = stream.read(size)
    if len(data) != size:
        raise DataError(f"'{path}' ends in the middle of an array; copy or save it again.")
    return data
