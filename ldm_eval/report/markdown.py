"""Writing Markdown in which no text can be anything but text."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Sequence

__all__ = ["bullet_list", "code", "code_block", "escape", "image", "plain", "quote", "slug", "table"]

_SPECIAL = re.compile(r"[\\`*\[\]|~${}]")
_EDGE_UNDERSCORE = re.compile(r"(?<![^\W_])_|_(?![^\W_])")
_BLOCK_START = re.compile(r"^([-+=#]|\d+(?=[.)](?:\s|$)))")
_LINK = re.compile(r"(?i)(://|www\.)")


def plain(text: object) -> str:
    """One line of visible characters: line ends and tabs become spaces, control and direction marks are dropped.

    Characters of Unicode category Cf (right-to-left overrides, zero-width characters, byte-order marks) can make a
    name look like another one; lone surrogates (undecodable file names) cannot be written as UTF-8.
    """
    return " ".join("".join(_visible(character) for character in str(text)).split())


def _visible(character: str) -> str:
    if character.isspace():
        return " "
    category = unicodedata.category(character)
    if category == "Cs":
        return "\N{REPLACEMENT CHARACTER}"
    return "" if category in ("Cc", "Cf") else character


def escape(text: object) -> str:
    """Text for a paragraph, heading or table cell: no Markdown, HTML, link, math, rule or CI command comes out of it.

    Covers pipes, backticks, HTML, ``---``, ``::error``, ``##[error]``, line ends and right-to-left marks.
    """
    line = plain(text)
    line = _SPECIAL.sub(lambda match: "\\" + match.group(), line)
    line = _EDGE_UNDERSCORE.sub(r"\\_", line)
    line = line.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    line = line.replace("::", "\\:\\:").replace("##", "\\#\\#")
    line = re.sub(r"-{2,}", lambda match: "\\-" * len(match.group()), line)
    line = _LINK.sub(lambda match: match.group().replace(":", "\\:").replace(".", "\\."), line)
    return _BLOCK_START.sub(_escape_start, line)


def _escape_start(match: re.Match[str]) -> str:
    start = match.group()
    return f"{start}\\" if start.isdigit() else f"\\{start}"


def code(text: object) -> str:
    """Text in a code span, safe in a table cell too: text with a pipe, which no span can hold there, is escaped."""
    line = plain(text)
    if not line or "|" in line:
        return escape(line)
    longest = max((len(run) for run in re.findall(r"`+", line)), default=0)
    fence = "`" * (longest + 1)
    padding = " " if line.startswith("`") or line.endswith("`") else ""
    return f"{fence}{padding}{line}{padding}{fence}"


def code_block(text: object, language: str = "") -> str:
    """A fenced block of one line; the fence is longer than any in the text, and no line starts a CI command."""
    line = plain(text)
    longest = max((len(run) for run in re.findall(r"`+", line)), default=0)
    fence = "`" * max(3, longest + 1)
    guard = " " if line.startswith(("::", "##")) else ""
    return f"{fence}{language}\n{guard}{line}\n{fence}"


def table(columns: Sequence[str], rows: Iterable[Sequence[str]], right: Iterable[int] = ()) -> str:
    """A table of cells that are Markdown already (escaped by the caller).

    Args:
        columns: Headings.
        rows: Cells, as many per row as headings.
        right: Indices of the columns to set flush right (numbers).
    """
    flush = set(right)
    lines = [_row(columns), _row(["--:" if i in flush else ":--" for i in range(len(columns))])]
    lines += [_row(row) for row in rows]
    return "\n".join(lines)


def _row(cells: Sequence[str]) -> str:
    return "| " + " | ".join(cells) + " |"


def bullet_list(items: Iterable[str]) -> str:
    """A list of items that are Markdown already."""
    return "\n".join(f"- {item}" for item in items)


def quote(text: str) -> str:
    """A block quote around Markdown."""
    return "\n".join(f"> {line}".rstrip() for line in text.split("\n"))


def image(alt: str, path: str) -> str:
    """An image; ``path`` must be one that ``slug`` made or the caller checked."""
    return f"![{escape(alt)}]({path})"


def slug(text: object) -> str:
    """Lower-case letters, digits, dots, dashes and underscores only; never empty, never starting with a dot."""
    ascii_text = unicodedata.normalize("NFKD", plain(text)).encode("ascii", "ignore").decode("ascii").lower()
    return re.sub(r"[^a-z0-9._]+", "-", ascii_text).strip("-.")[:80] or "unnamed"
