"""Writing files so that a crash leaves the old file or the new one, never half of one."""

from __future__ import annotations

import errno
import json
import os
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import IO, Any, final

import numpy as np
from numpy.typing import NDArray

from ldm_eval.errors import StoreError

__all__ = [
    "GO_ON",
    "canonical_json",
    "read_json",
    "write_array",
    "write_bytes",
    "write_json",
    "write_text",
    "write_with",
]


GO_ON = "What was already written is kept; make room and run the same command again to go on."
"""What every message about a full disk ends with."""


def write_with(path: Path, fill: Callable[[IO[bytes]], None]) -> None:
    """Write ``path`` by temp file, fsync and rename; ``fill`` writes the content.

    Raises:
        StoreError: when the disk is full or the folder cannot be written; the old file is still there.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        descriptor, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.", suffix=".tmp")
    except OSError as error:
        raise _store_error(path, error) from error
    temporary = Path(name)
    try:
        with os.fdopen(descriptor, "wb") as stream:
            fill(stream)
            stream.flush()
            os.fsync(stream.fileno())
        temporary.chmod(0o644)
        temporary.replace(path)
        _sync_folder(path.parent)
    except OSError as error:
        raise _store_error(path, error) from error
    finally:
        temporary.unlink(missing_ok=True)


def write_bytes(path: Path, content: bytes) -> None:
    """Write ``content`` to ``path`` atomically. Raises StoreError."""

    def fill(stream: IO[bytes]) -> None:
        stream.write(content)

    write_with(path, fill)


def write_array(path: Path, array: NDArray[Any]) -> None:
    """Write ``array`` as ``.npy`` atomically, to be read as a memory map. Raises StoreError."""

    def fill(stream: IO[bytes]) -> None:
        np.save(_WriteOnly(stream), array, allow_pickle=False)

    write_with(path, fill)


@final
class _WriteOnly:
    """Hides that a stream is a file: numpy writes to real files in C, and its errors then do not say why."""

    def __init__(self, stream: IO[bytes]) -> None:
        self.write = stream.write


def write_text(path: Path, content: str) -> None:
    """Write UTF-8 ``content`` with Unix line ends atomically. Raises StoreError."""
    write_bytes(path, content.encode("utf-8"))


def canonical_json(value: Any, *, indent: int | None = 1) -> str:
    """JSON with sorted keys and shortest round-trip floats; equal values give equal text. NaN is refused."""
    separators = (",", ":") if indent is None else (",", ": ")
    return json.dumps(value, sort_keys=True, indent=indent, allow_nan=False, ensure_ascii=False, separators=separators)


def write_json(path: Path, value: Any) -> None:
    """Write ``value`` as canonical JSON, atomically. Raises StoreError."""
    write_text(path, canonical_json(value) + "\n")


def read_json(path: Path) -> Any:
    """Read a JSON file.

    Raises:
        StoreError: when it is missing or is not JSON.
    """
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise StoreError(f"There is no file {path}.") from error
    except OSError as error:
        raise _store_error(path, error, "read") from error
    except (UnicodeDecodeError, ValueError) as error:
        raise StoreError(f"{path} is not valid JSON ({error}); it may be damaged. Make it again.") from error


def _store_error(path: Path, error: OSError, verb: str = "write") -> StoreError:
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return StoreError(f"The disk is full: could not {verb} {path}. {GO_ON}")
    return StoreError(f"Could not {verb} {path}: {error.strerror or error}.")


def _sync_folder(folder: Path) -> None:
    if os.name != "posix":  # a folder cannot be opened for fsync elsewhere; the rename is atomic all the same
        return
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
