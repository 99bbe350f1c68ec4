"""A section of the card, and the words that several sections share."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from ldm_eval.api import Direction, Interval
from ldm_eval.report.markdown import escape, plain
from ldm_eval.report.numbers import format_number

__all__ = [
    "DIRECTIONS",
    "FAMILIES",
    "Section",
    "as_text",
    "families",
    "family_of",
    "family_title",
    "humanise",
    "level_text",
    "short_digest",
]

FAMILIES: Mapping[str, str] = {
    "quality": "Quality and diversity",
    "privacy": "Memorisation and privacy leakage",
    "fairness": "Demographic bias",
    "misuse": "Misinformation and misuse",
}
"""Families this tool ships, in the order of the card; any other family of a third party comes after them."""

DIRECTIONS: Mapping[Direction, str] = {
    "lower": "lower is better",
    "higher": "higher is better",
    "target": "nearer its target is better",
    "none": "no better direction",
}


@dataclass(frozen=True, slots=True)
class Section:
    """A heading (already escaped) with a Markdown body."""

    title: str
    body: str

    def __str__(self) -> str:
        return f"## {self.title}\n\n{self.body.strip()}\n"


def family_of(check: str) -> str:
    """The part of a check's id before the slash."""
    return check.partition("/")[0]


def families(checks: Iterable[str]) -> tuple[str, ...]:
    """The families of these checks: the known ones first, then others as they appear."""
    found = dict.fromkeys(family_of(check) for check in checks)
    return (*(family for family in FAMILIES if family in found), *(f for f in found if f not in FAMILIES))


def family_title(family: str) -> str:
    """Heading of a family, escaped; the name itself for a family this tool does not know."""
    return FAMILIES.get(family) or escape(humanise(family)) or "Unnamed family"


_SPELLED = {word: word.upper() for word in ("auc", "cmmd", "fd", "fid", "fpr", "is", "kid", "mind", "mmd", "tpr")} | {
    "frechet": "Fréchet",
    "mifid": "MiFID",
    "sfid": "sFID",
    "c t": "C_T",
    "rfd": "rFD",
    "rfid": "rFID",
}


def humanise(name: str) -> str:
    """``near_copy_rate`` -> ``Near copy rate``; known abbreviations as they are written, ``@space`` in brackets."""
    called, at, space = plain(name).partition("@")
    whole = called.replace("_", " ")
    words = [whole] if whole in _SPELLED else whole.split()
    text = " ".join(_SPELLED.get(word, word) for word in words) + (f" ({space})" if at else "")
    return text if words and words[0] in _SPELLED else text[:1].upper() + text[1:]


def level_text(interval: Interval) -> str:
    """``95 %``, and ``one-sided`` where only one bound counts."""
    percent = f"{round(interval.level * 100, 4):g} %"
    return percent if interval.sided == "two" else f"{percent} one-sided"


def short_digest(text: str) -> str:
    """The first twelve digits of a SHA-256; any other text as it is."""
    is_digest = len(text) == 64 and all(character in "0123456789abcdef" for character in text)
    return f"{text[:12]}…" if is_digest else text


def as_text(value: object) -> str:
    """A value out of a JSON document in words, escaped: digests shortened, mappings and lists flattened, sorted."""
    if value is None:
        return "none"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, int | float):
        return escape(format_number(value) if math.isfinite(value) else value)
    if isinstance(value, Mapping):
        return ", ".join(f"{escape(key)}: {as_text(value[key])}" for key in sorted(value)) or "none"
    if isinstance(value, list | tuple):
        return ", ".join(as_text(item) for item in value) or "none"
    return escape(short_digest(str(value))) or "none"
