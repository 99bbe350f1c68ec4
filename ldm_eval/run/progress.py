"""How a run tells what it is doing; the command line draws it, a library call stays silent."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator
from contextlib import contextmanager
from typing import final

__all__ = ["Progress", "SilentProgress"]


class Progress(ABC):
    """Receives news of a run. Stages do not nest."""

    @abstractmethod
    def start(self, stage: str, total: int | None) -> None:
        """A stage begins: ``total`` units of work, or None when unknown."""

    @abstractmethod
    def advance(self, units: int = 1) -> None:
        """``units`` of the current stage are done."""

    @abstractmethod
    def finish(self) -> None:
        """The current stage is over."""

    @abstractmethod
    def note(self, text: str) -> None:
        """One line the user should see."""

    @contextmanager
    def stage(self, name: str, total: int | None) -> Iterator[None]:
        """``start`` ... ``finish`` around a block."""
        self.start(name, total)
        try:
            yield
        finally:
            self.finish()


@final
class SilentProgress(Progress):
    """Says nothing."""

    def start(self, stage: str, total: int | None) -> None:
        """Nothing."""

    def advance(self, units: int = 1) -> None:
        """Nothing."""

    def finish(self) -> None:
        """Nothing."""

    def note(self, text: str) -> None:
        """Nothing."""
