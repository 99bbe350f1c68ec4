"""How many CPU threads a command uses, and torch held to that number."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator

__all__ = ["thread_count", "torch_threads"]


def thread_count(wanted: int) -> int:
    """``wanted``, or for 0 the cores that this process may use, at most ``OMP_NUM_THREADS`` where that is set."""
    if wanted:
        return wanted
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    told = os.environ.get("OMP_NUM_THREADS", "")
    return min(cores, int(told)) if told.isdecimal() and int(told) else cores


@contextlib.contextmanager
def torch_threads(count: int) -> Iterator[None]:
    """Let torch use ``count`` threads in this block, and what it used before afterwards."""
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)
