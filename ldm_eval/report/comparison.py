"""A comparison as Markdown, and as a figure of its differences."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from ldm_eval.errors import EvidenceError
from ldm_eval.gate.comparison import Compared, Comparison
from ldm_eval.report.figures import drawn_on_axes
from ldm_eval.report.markdown import bullet_list, code, escape, plain, table
from ldm_eval.report.numbers import format_number

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["comparison_markdown", "draw_comparison", "reading"]

_MOST = 40
"""Rows that one figure can hold."""
_WIDTH, _ROW_HEIGHT = 7.2, 0.26
"""Inches."""
_LOOKS = {"better": ("#0072B2", "o"), "worse": ("#D55E00", "s"), "not shown": ("#999999", "D")}


def reading(comparison: Comparison) -> str:
    """How the table is to be read."""
    level, chance = f"{100 * comparison.level:.4g} %", f"{1 - comparison.level:.2g}"
    return (
        f"Difference: {comparison.second} minus {comparison.first}, with its {level} interval. "
        f"better and worse are said of {comparison.second}, and hold all together (Holm): where nothing differs, one "
        f"of them or more is said with probability at most {chance}. Images that both runs share were paired one by "
        "one where the run kept what each contributes; elsewhere the two count as independent."
    )


def comparison_markdown(comparisons: Sequence[Comparison]) -> str:
    """One section for each comparison; every text that came from outside is escaped."""
    parts = ["# Comparison", ""]
    for one in comparisons:
        parts += [f"## {escape(one.second)} beside {escape(one.first)}", "", escape(reading(one)), ""]
        if one.warnings:
            parts += [bullet_list([escape(warning) for warning in one.warnings]), ""]
        if one.rows:
            columns = ("measurement", "group", "first", "second", "difference", "interval", "paired", "second is")
            parts += [table(columns, [_row(row) for row in one.rows], right=(2, 3, 4, 5)), ""]
        if one.refused:
            refused = [(code(f"{r.check}: {r.name}"), escape(r.group or "–"), escape(r.reason)) for r in one.refused]
            parts += ["Not compared:", "", table(("measurement", "group", "why"), refused), ""]
    return "\n".join(parts)


def _row(row: Compared) -> tuple[str, ...]:
    low, high = format_number(row.interval.low), format_number(row.interval.high)
    return (
        code(f"{row.first.check}: {row.first.name}"),
        escape(row.first.group or "–"),
        format_number(row.first.value),
        format_number(row.second.value),
        format_number(row.difference),
        f"{low} to {high}",
        ", ".join(row.paired) or "no",
        row.verdict if row.p_value is not None else "–",
    )


def draw_comparison(comparison: Comparison) -> bytes:
    """The differences as a column of intervals, deterministic PNG bytes; right of zero the second model is better.

    Each is in units of the half-width of its own interval, so that all fit one axis; at most 40 rows, the first.

    Raises:
        EvidenceError: when there is no measurement in which a direction is better.
    """
    rows = [row for row in comparison.rows if row.p_value is not None and row.interval.high > row.interval.low][:_MOST]
    if not rows:
        raise EvidenceError("There is nothing to draw: no measurement in which a direction is better was compared.")
    size = (_WIDTH, 1.4 + _ROW_HEIGHT * len(rows))
    return drawn_on_axes(lambda axes: _draw_rows(axes, rows, comparison), size)


def _draw_rows(axes: Axes, rows: Sequence[Compared], comparison: Comparison) -> None:
    for place, row in enumerate(rows):
        half = (row.interval.high - row.interval.low) / 2
        sign = (-1 if row.first.direction == "lower" else 1) / half
        ends = sorted((sign * row.interval.low, sign * row.interval.high))
        colour, marker = _LOOKS[row.verdict]
        axes.plot(ends, (place, place), color=colour, linewidth=2, solid_capstyle="butt")
        axes.plot((sign * row.difference,), (place,), marker=marker, color=colour, linestyle="none")
    axes.axvline(0.0, color="#444444", linestyle="--", linewidth=1)
    names = [f"{row.first.name}{f' ({row.first.group})' if row.first.group else ''}" for row in rows]
    axes.set_yticks(range(len(rows)), [plain(name) for name in names])
    axes.set_ylim(len(rows) - 0.4, -0.6)
    axes.set_title(plain(f"{comparison.second} beside {comparison.first}"))
    axes.set_xlabel("worse  ←  difference in half-widths of its own interval  →  better")
