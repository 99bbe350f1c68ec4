"""Statistics files: mean and covariance of the features of real images, as the tools of the field exchange them.

======================================  =====================================================================
written by                              keys
======================================  =====================================================================
TTUR, pytorch-fid, clean-fid, EDM       ``mu (D,)``, ``sigma (D, D)``
ADM (guided-diffusion, ``VIRTUAL_*``)   these, ``mu_s`` and ``sigma_s`` of the spatial features, and ``arr_0`` (images)
``ldm-eval reference``                  all this with the extractor's fingerprint and the number of images
======================================  =====================================================================
"""

from __future__ import annotations

import lzma
import math
import re
import zipfile
import zlib
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.lib import format as npy
from numpy.typing import NDArray

from ldm_eval.api import FeatureStatistics
from ldm_eval.errors import DataError
from ldm_eval.stats.digests import statistics_digest
from ldm_eval.store.reference import is_reference, read_reference

__all__ = ["read_statistics"]

_MEAN = re.compile(r"mu(_\w+)?")
_MOST_DIMENSIONS = 1 << 14
"""A covariance of 2 GB."""
_ASYMMETRY = 1e-4
"""Largest difference of a covariance and its transpose, relative to its largest entry; float32 sums give 1e-6."""
_BROKEN = (zipfile.BadZipFile, OSError, EOFError, zlib.error, lzma.LZMAError, NotImplementedError, RuntimeError)


def read_statistics(path: Path) -> list[FeatureStatistics]:
    """Read every pair of mean and covariance in a file; nothing is unpickled.

    Raises:
        DataError: no such file, none of these formats, or a pair that no features can have (NaN, shapes that do not
            fit, a covariance that is not symmetric or whose entries exceed its variances).
    """
    if path.is_dir():
        raise DataError(f"'{path}' is a folder; statistics are one npz file with 'mu' and 'sigma'.")
    if not path.is_file():
        raise DataError(f"There is no file '{path}'; statistics are one npz file with 'mu' and 'sigma'.")
    if is_reference(path):
        found = list(read_reference(path).statistics())
        for pair in found:
            _refuse_impossible(pair.mean, pair.covariance, f"'{path}'")
        return found
    try:
        with zipfile.ZipFile(path) as archive:
            return _pairs(archive, path)
    except _BROKEN as error:
        raise DataError(
            f"'{path}' {_what_it_is(path)} ({error}); statistics are an npz with 'mu' and 'sigma'."
        ) from error


def _what_it_is(path: Path) -> str:
    with path.open("rb") as stream:
        begins = stream.read(8)
    if begins[:1] == b"\x80":
        return "is a pickle, which may run any program when it is read: convert it where you trust it"
    return "is cut off or damaged" if begins[:2] == b"PK" else "is no npz file"


def _pairs(archive: zipfile.ZipFile, path: Path) -> list[FeatureStatistics]:
    keys = [name.removesuffix(".npy") for name in archive.namelist()]
    names = sorted(key for key in set(keys) if _MEAN.fullmatch(key))
    if not names:
        images = " They are images: name the file with --reference." if "arr_0" in keys else ""
        raise DataError(
            f"'{path}' holds {', '.join(map(repr, keys[:8])) or 'nothing'}, and no statistics; these are 'mu' (D,) and "
            f"'sigma' (D, D).{images}"
        )
    found = []
    for name in names:
        other = "sigma" + name.removeprefix("mu")
        if other not in keys:
            raise DataError(f"'{path}' has a mean '{name}' and no covariance '{other}'.")
        mean = _array(archive, name, path)
        covariance = _array(archive, other, path)
        _refuse_shapes(mean, covariance, f"'{name}' and '{other}' in '{path}'")
        _refuse_impossible(mean, covariance, f"'{name}' and '{other}' in '{path}'")
        symmetric = (covariance + covariance.T) / 2.0
        found.append(FeatureStatistics(str(path), mean, symmetric, None, statistics_digest(mean, symmetric)))
    return found


def _array(archive: zipfile.ZipFile, name: str, path: Path) -> NDArray[np.float64]:
    """One array of floats, as float64; what it promises is judged before it is read."""
    with archive.open(f"{name}.npy") as stream:
        shape, fortran, dtype = _array_header(stream, name, path)
        if dtype.kind != "f" or not 1 <= len(shape) <= 2 or not all(1 <= size <= _MOST_DIMENSIONS for size in shape):
            raise DataError(
                f"'{name}' in '{path}' is {dtype} {shape}; expected floats, (D,) or (D, D), D at most "
                f"{_MOST_DIMENSIONS}. Objects and pickles are never read."
            )
        size = math.prod(shape)
        raw = stream.read(size * dtype.itemsize)
    if len(raw) != size * dtype.itemsize:
        raise DataError(f"'{path}' ends in the middle of '{name}'; copy it again.")
    order: Any = "F" if fortran else "C"
    return np.ascontiguousarray(np.frombuffer(raw, dtype).reshape(shape, order=order), dtype=np.float64)


def _array_header(stream: IO[bytes], name: str, path: Path) -> tuple[tuple[int, ...], bool, np.dtype[Any]]:
    try:
        read = npy.read_array_header_1_0 if npy.read_magic(stream) == (1, 0) else npy.read_array_header_2_0
        return read(stream)
    except _BROKEN:
        raise
    except Exception as error:  # numpy tokenises and parses the header: whatever it stumbles over, it is the file
        raise DataError(f"'{name}' in '{path}' is not an array that can be read ({error}).") from error


def _refuse_shapes(mean: NDArray[np.float64], covariance: NDArray[np.float64], what: str) -> None:
    dimension = mean.shape[0]
    if mean.ndim != 1 or covariance.shape != (dimension, dimension):
        raise DataError(
            f"{what} are {mean.shape} and {covariance.shape}; a mean is (D,) and its covariance (D, D) with the same D."
        )


def _refuse_impossible(mean: NDArray[np.float64], covariance: NDArray[np.float64], what: str) -> None:
    """Refuse what is no mean and covariance of anything."""
    if not (np.all(np.isfinite(mean)) and np.all(np.isfinite(covariance))):
        raise DataError(f"{what} hold values that are not finite (NaN or infinity); compute them again.")
    largest = float(np.max(np.abs(covariance)))
    difference = float(np.max(np.abs(covariance - covariance.T)))
    if difference > _ASYMMETRY * largest:
        raise DataError(
            f"{what}: the covariance differs from its transpose by {difference:.3g}, at entries up to {largest:.3g}; "
            "it is no covariance."
        )
    variances = np.diagonal(covariance)
    if float(np.min(variances)) < -_ASYMMETRY * largest or largest > (1.0 + _ASYMMETRY) * float(np.max(variances)):
        raise DataError(
            f"{what}: variances from {np.min(variances):.3g} to {np.max(variances):.3g} beside covariances up to "
            f"{largest:.3g}; no features have these."
        )
