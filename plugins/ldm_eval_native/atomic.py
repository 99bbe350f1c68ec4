"""Files that are there in full or not at all: a temporary file beside the target, fsync, rename."""

from __future__ import annotations

import contextlib
import os
import tempfile
from pathlib import Path

from ldm_eval.errors import StoreError

__all__ = ["refuse_unwritable", "write_bytes"]


def refuse_unwritable(path: Path) -> None:
    """Make the folder of ``path`` and try it: hours of work should not end in a file that cannot be written.

    Raises:
        StoreError: when the folder cannot be made, or nothing can be written into it.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=path.parent):
            pass
    except OSError as error:
        raise StoreError(
            f"{path} cannot be written: {error.strerror or error} ('{path.parent}'). Nothing was computed; choose "
            "another --output."
        ) from error


def write_bytes(path: Path, data: bytes) -> None:
    """Write ``data`` to ``path``, making its folder; an interrupted writing leaves an earlier file as it was.

    Raises:
        StoreError: when the disk is full or the folder cannot be written; an earlier file is left as it was.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.", suffix=".part")
        try:
            with os.fdopen(handle, "wb") as file:
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
            Path(name).chmod(0o644)
            Path(name).replace(path)
        except BaseException:
            with contextlib.suppress(OSError):
                Path(name).unlink()
            raise
    except OSError as error:
        raise StoreError(
            f"Could not write {path} ({len(data):,} bytes): {error.strerror or error}. What was there before is "
            "untouched; free some space or choose another --output."
        ) from error
