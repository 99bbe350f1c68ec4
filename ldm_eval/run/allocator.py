"""One setting of glibc that halves the time of large activations. Called by programs, never on import."""

from __future__ import annotations

import ctypes
import sys

__all__ = ["keep_large_blocks"]

_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD = -1, -3
_ONE_GIB = 1 << 30


def keep_large_blocks() -> bool:
    """Let glibc reuse freed blocks up to 1 GiB instead of mapping and faulting them in anew at every batch.

    Page faults were half the time of an Inception forward pass at batch 64. Returns False where there is no glibc.
    """
    if not sys.platform.startswith("linux"):
        return False
    try:
        mallopt = ctypes.CDLL("libc.so.6").mallopt
    except (OSError, AttributeError):  # musl has no mallopt
        return False
    return bool(mallopt(_M_MMAP_THRESHOLD, _ONE_GIB)) and bool(mallopt(_M_TRIM_THRESHOLD, _ONE_GIB))
