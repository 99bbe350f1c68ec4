"""What the author declares: kept apart from what was measured, and never written for them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ldm_eval.report.markdown import bullet_list, escape
from ldm_eval.report.section import Section, as_text, humanise

__all__ = ["declared_licence", "declared_section"]

_ASKED: Mapping[str, tuple[str, ...]] = {
    "Intended use": ("intended_use",),
    "Out of scope": ("out_of_scope", "out_of_scope_use"),
    "Data": ("data", "training_data"),
    "Licence": ("licence", "license"),
    "Environment": ("environment", "environmental_impact"),
}
"""What a card asks its author; each may be written under either key."""


def declared_section(declared: Mapping[str, Any] | None) -> Section:
    """The author's own statements, word for word; what is not declared is said to be missing."""
    given = declared or {}
    lines = [f"**{title}.** {_statement(given, keys)}" for title, keys in _ASKED.items()]
    asked = {key for keys in _ASKED.values() for key in keys}
    lines += [f"**{escape(humanise(str(key)))}.** {as_text(given[key])}" for key in sorted(given) if key not in asked]
    intro = "Nobody measured what stands here; these are the words of the model's author."
    return Section("Declared by the author", f"{intro}\n\n{bullet_list(lines)}")


def declared_licence(declared: Mapping[str, Any] | None) -> str:
    """The licence the author declares, or an empty string."""
    return next((str(declared[key]) for key in _ASKED["Licence"] if declared and declared.get(key)), "")


def _statement(given: Mapping[str, Any], keys: tuple[str, ...]) -> str:
    value = next((given[key] for key in keys if given.get(key)), None)
    return "*Not declared.*" if value is None else as_text(value)
