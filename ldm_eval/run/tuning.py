"""Two settings of a program's own process that decide its speed. Called by programs, never on import."""

from __future__ import annotations

import ctypes
import os
import sys

__all__ = ["keep_large_blocks", "tune_process", "waiting_policy"]

_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD = -1, -3
_ONE_GIB = 1 << 30


def tune_process() -> None:
    """Make this process fast on a machine that it shares. Call it before torch is imported."""
    for name, value in waiting_policy().items():
        os.environ.setdefault(name, value)
    keep_large_blocks()


def waiting_policy() -> dict[str, str]:
    """Environment that makes OpenMP threads sleep at a barrier instead of spinning.

    With as many threads as cores, one other busy process is enough to make every barrier wait for a thread that is
    not running, while the rest burn their time slices: EfficientNet-Lite0 fell from 117 to 4.6 images a second.
    """
    return {"OMP_WAIT_POLICY": "PASSIVE"}


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
