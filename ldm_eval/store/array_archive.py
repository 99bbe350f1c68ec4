"""Arrays in an npz file that are read as memory maps: stored without compression, each aligned in the file.

Any program reads such a file with ``numpy.load``. Nothing is unpickled, here or there.
"""

from __future__ import annotations

import math
import struct
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, final

import numpy as np
from numpy.lib import format as npy
from numpy.typing import NDArray

from ldm_eval.errors import DataError
from ldm_eval.store.atomic import write_with

__all__ = ["ArrayArchive", "write_arrays"]

_ALIGNMENT = 64
_PADDING_ID = 0xD935
"""Id of the extra field that zip tools reserve for padding; readers skip it."""
_LOCAL_HEADER = 30
_ZIP64_FIELD = 20
_MOST_MEMBERS = 1000
_BROKEN_ZIP = (zipfile.BadZipFile, EOFError, NotImplementedError, OSError, struct.error, ValueError)


def write_arrays(path: Path, arrays: Mapping[str, NDArray[Any]]) -> None:
    """Write ``arrays`` in their order as an npz, atomically; equal arrays give equal bytes. Raises StoreError."""

    def fill(stream: IO[bytes]) -> None:
        with zipfile.ZipFile(stream, "w", zipfile.ZIP_STORED) as archive:
            for name, array in arrays.items():
                member = zipfile.ZipInfo(f"{name}.npy")  # its time is that of the format's beginning
                taken = stream.tell() + _LOCAL_HEADER + len(member.filename.encode()) + _ZIP64_FIELD + 4
                padding = -taken % _ALIGNMENT
                member.extra = struct.pack("<HH", _PADDING_ID, padding) + bytes(padding)
                with archive.open(member, "w", force_zip64=True) as into:
                    npy.write_array(into, _little_endian(array), allow_pickle=False)

    write_with(path, fill)


def _little_endian(array: NDArray[Any]) -> NDArray[Any]:
    return np.ascontiguousarray(array, dtype=array.dtype.newbyteorder("<"))


@dataclass(frozen=True, slots=True)
class _Place:
    """Where the bytes of one array begin, and what they are."""

    offset: int
    shape: tuple[int, ...]
    dtype: np.dtype[np.generic]


@final
class ArrayArchive:
    """An npz file as ``write_arrays`` writes it, whose arrays are mapped and not read.

    Raises:
        DataError: when it is not such a file.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        try:
            self._size = path.stat().st_size
            with zipfile.ZipFile(path) as archive:
                members = archive.infolist()
        except _BROKEN_ZIP as error:
            raise DataError(f"'{path}' is not a whole npz file ({error}); copy it or make it again.") from error
        if len(members) > _MOST_MEMBERS or len({member.filename for member in members}) != len(members):
            raise DataError(f"'{path}' has {len(members)} members, too many or some twice; make it again.")
        self._members = {member.filename.removesuffix(".npy"): member for member in members}

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the arrays, in their order."""
        return tuple(self._members)

    def array(self, name: str, dtype: str, ndim: int) -> NDArray[Any]:
        """One array as a read-only memory map.

        Raises:
            DataError: when there is none of this name, type and number of dimensions, or the file ends in it.
        """
        if name not in self._members:
            raise DataError(f"'{self._path}' has no array '{name}'; it holds {', '.join(self.names[:12])}.")
        member = self._members[name]
        if member.compress_type != zipfile.ZIP_STORED or member.flag_bits & 0x1:
            raise DataError(
                f"'{name}' in '{self._path}' is compressed or encrypted: the file was saved anew. Use the original."
            )
        try:
            with self._path.open("rb") as stream:
                place = self._place(stream, member)
        except _BROKEN_ZIP as error:
            raise DataError(f"'{name}' in '{self._path}' cannot be read ({error}); the file is damaged.") from error
        if place.dtype != np.dtype(dtype) or len(place.shape) != ndim:
            raise DataError(
                f"'{name}' in '{self._path}' is {place.dtype} {place.shape}; expected {dtype} with {ndim} dimensions."
            )
        if place.offset + math.prod(place.shape) * place.dtype.itemsize > self._size:
            raise DataError(f"'{self._path}' ends in the middle of '{name}'; copy it again.")
        if 0 in place.shape:
            return np.zeros(place.shape, place.dtype)  # nothing can be mapped
        return np.memmap(self._path, place.dtype, "r", place.offset, place.shape)

    def _place(self, stream: IO[bytes], member: zipfile.ZipInfo) -> _Place:
        stream.seek(member.header_offset)
        local = stream.read(_LOCAL_HEADER)
        if local[:4] != b"PK\x03\x04":
            raise ValueError("no member begins where the index says")
        name_length, extra_length = struct.unpack("<HH", local[26:30])
        stream.seek(member.header_offset + _LOCAL_HEADER + name_length + extra_length)
        try:
            read = npy.read_array_header_1_0 if npy.read_magic(stream) == (1, 0) else npy.read_array_header_2_0
            shape, fortran, dtype = read(stream)
        except _BROKEN_ZIP:
            raise
        except Exception as error:  # numpy tokenises and parses the header: whatever it stumbles over, it is the file
            raise ValueError(f"its header is not one: {error}") from error
        if fortran or not all(type(size) is int and size >= 0 for size in shape):
            raise ValueError(f"its shape is {shape}{' in Fortran order' if fortran else ''}")
        return _Place(stream.tell(), shape, dtype)
