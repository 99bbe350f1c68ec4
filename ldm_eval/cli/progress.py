"""Progress on stderr: bars with the time left on a terminal, a line now and then in a log."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, final

from ldm_eval.cli import console
from ldm_eval.run.progress import Progress

if TYPE_CHECKING:
    from rich.progress import Progress as Bars
    from rich.progress import TaskID

__all__ = ["LogProgress", "TerminalProgress", "TrainingProgress", "progress"]

HEARTBEAT_S = 30.0
"""Seconds between two lines of a long stage in a log."""


class TrainingProgress(Progress):
    """Progress that can also show a passing detail, such as the loss of a training step."""

    def detail(self, text: str) -> None:
        """Show ``text`` beside the current stage; it replaces the one before."""


@contextmanager
def progress() -> Iterator[TrainingProgress]:
    """The progress that suits stderr; whatever happens, the terminal is left in order."""
    shown: TerminalProgress | LogProgress
    shown = TerminalProgress() if console.stderr().is_terminal else LogProgress()
    try:
        yield shown
    finally:
        shown.finish()


@final
class TerminalProgress(TrainingProgress):
    """One bar per stage; finished bars stay."""

    def __init__(self) -> None:
        self._bars: Bars | None = None
        self._task: TaskID | None = None

    def start(self, stage: str, total: int | None) -> None:
        """Open a bar."""
        from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeElapsedColumn, TimeRemainingColumn
        from rich.progress import Progress as Bars

        self.finish()
        word = TextColumn("[dim]{task.fields[word]}[/]")
        left = TimeRemainingColumn(compact=True, elapsed_when_finished=True)
        counted = (MofNCompleteColumn(), word, left) if total else (word, TimeElapsedColumn())
        beside = TextColumn("{task.fields[detail]}", markup=False)
        stage_name = TextColumn("{task.description}", markup=False)
        self._bars = Bars(stage_name, BarColumn(bar_width=16), *counted, beside, console=console.stderr())
        self._task = self._bars.add_task(stage, total=total, detail="", word="left" if total else "since")
        self._bars.start()

    def advance(self, units: int = 1) -> None:
        """Move the bar."""
        if self._bars is not None and self._task is not None:
            self._bars.advance(self._task, units)

    def finish(self) -> None:
        """Close the bar."""
        if self._bars is not None and self._task is not None:
            if self._bars.finished:
                self._bars.update(self._task, word="took")
            self._bars.stop()
        self._bars = self._task = None

    def note(self, text: str) -> None:
        """A line above the bar."""
        console.note(text)

    def detail(self, text: str) -> None:
        """Beside the bar."""
        if self._bars is not None and self._task is not None:
            self._bars.update(self._task, detail=text)


@final
class LogProgress(TrainingProgress):
    """A line when a stage starts, every half minute, and when it ends."""

    def __init__(self) -> None:
        self._stage = ""
        self._total: int | None = None
        self._done = 0
        self._started = self._spoken = 0.0
        self._detail = ""

    def start(self, stage: str, total: int | None) -> None:
        """Name the stage."""
        self.finish()
        self._stage, self._total, self._done, self._detail = stage, total, 0, ""
        self._started = self._spoken = time.monotonic()

    def advance(self, units: int = 1) -> None:
        """Speak when the last line is half a minute old."""
        self._done += units
        now = time.monotonic()
        if now - self._spoken >= HEARTBEAT_S:
            self._spoken = now
            console.note(self._line(now - self._started))

    def finish(self) -> None:
        """Say how long it took."""
        if self._stage and (self._done or self._total is None):
            took = clock(time.monotonic() - self._started)
            count = f"{self._done} of {self._total}, " if self._total else ""
            console.note(f"{self._stage}: {count}took {took}{self._beside()}")
        self._stage = ""

    def note(self, text: str) -> None:
        """A line of its own."""
        console.note(text)

    def detail(self, text: str) -> None:
        """Kept for the next line."""
        self._detail = text

    def _line(self, seconds: float) -> str:
        if not self._total or not self._done:
            return f"{self._stage}: {clock(seconds)} so far{self._beside()}"
        left = clock(seconds / self._done * max(self._total - self._done, 0))
        return f"{self._stage}: {self._done} of {self._total}, about {left} left{self._beside()}"

    def _beside(self) -> str:
        return f" ({self._detail})" if self._detail else ""


def clock(seconds: float) -> str:
    """Seconds for people: ``4.2 s``, ``3 min 10 s``, ``2 h 5 min``."""
    if seconds < 60:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes} min {rest} s" if minutes < 60 else f"{minutes // 60} h {minutes % 60} min"
