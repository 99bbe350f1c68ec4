"""The only place that prints: results on stdout, progress and messages on stderr."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stdout, suppress
from functools import cache
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rich.console import Console, RenderableType

__all__ = ["document", "error", "line", "note", "only_results_on_stdout", "show", "stderr"]

PLAIN_WIDTH = 100
"""Columns where there is no terminal that has a width (a log file, a pipe) and COLUMNS is not set."""


@cache
def _console(to_stderr: bool) -> Console:
    from rich.console import Console

    stream = sys.stderr if to_stderr else sys.stdout
    plain = bool(os.environ.get("NO_COLOR"))
    console = Console(stderr=to_stderr, highlight=False, color_system=None if plain else "auto")
    if not stream.isatty() and "COLUMNS" not in os.environ:
        console.width = PLAIN_WIDTH
    return console


def stderr() -> Console:
    """The console for progress and messages."""
    return _console(True)


def line(text: str) -> None:
    """One line of what was asked for, on stdout, never wrapped."""
    sys.stdout.write(text + "\n")


def document(value: Any) -> None:
    """A JSON document on stdout."""
    line(json.dumps(value, indent=1, ensure_ascii=False, allow_nan=False, sort_keys=False))


def show(renderable: RenderableType, *, on_stderr: bool = False) -> None:
    """A table or panel, on stdout unless asked otherwise."""
    sys.stdout.flush()
    _console(on_stderr).print(renderable, markup=False)


def note(text: str) -> None:
    """One message on stderr."""
    _console(True).print(text, markup=False, soft_wrap=True)


def error(text: str) -> None:
    """One error on stderr."""
    from rich.text import Text

    _console(True).print(Text.assemble(("Error: ", "bold red"), text), soft_wrap=True)


def _flush_c() -> None:
    """Write out what C libraries have printed so far; in a pipe they would keep it until the program ends."""
    import ctypes

    with suppress(OSError, AttributeError, TypeError):  # TypeError: Windows has no library that is the program itself
        ctypes.CDLL(None).fflush(None)


@contextmanager
def only_results_on_stdout() -> Iterator[None]:
    """While this holds, whatever a library writes to stdout (also from C) comes out on stderr."""
    sys.stdout.flush()
    saved: int | None = None
    with suppress(OSError, ValueError):  # a stdout without a file descriptor, as in tests
        descriptor = sys.stdout.fileno()
        saved = os.dup(descriptor)
        os.dup2(sys.stderr.fileno(), descriptor)
    try:
        with redirect_stdout(sys.stderr):
            yield
    finally:
        if saved is not None:
            sys.stdout.flush()
            _flush_c()
            os.dup2(saved, sys.stdout.fileno())
            os.close(saved)
