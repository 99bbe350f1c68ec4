"""How a plugin adds to the card: sections of its own, and renderers into other formats."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

JsonObject = Mapping[str, Any]
"""``results.json`` or ``gate.json`` as read; its schema is ``docs/results.md``."""


@dataclass(frozen=True, slots=True)
class CardSectionSpec:
    """A section that a plugin adds to MODEL_CARD.md.

    Attributes:
        name: Unique; shown in ``ldm-eval plugins``.
        title: Heading of the section.
        render: results -> Markdown body, or an empty string to leave the section out. Escape what you did not write
            with ``ldm_eval.report.markdown.escape``.
        early: True for a summary that readers should meet before the tables; otherwise it stands at the end.
    """

    name: str
    title: str
    render: Callable[[JsonObject], str]
    early: bool = False


@dataclass(frozen=True, slots=True)
class RendererSpec:
    """Writes a finished run in another format.

    Attributes:
        name: What the user types after ``--renderer``.
        summary: One line.
        render: (results, verdict or None, run folder) -> path of the file written.
    """

    name: str
    summary: str
    render: Callable[[JsonObject, JsonObject | None, Path], Path]
