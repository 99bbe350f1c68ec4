"""What a comparison looks like on a terminal."""

from __future__ import annotations

from collections.abc import Sequence

from rich.console import Group, RenderableType
from rich.text import Text

from ldm_eval.cli.tables import heading_of, name_below_heading, number, plain_table
from ldm_eval.gate.comparison import Compared, Comparison, Refused
from ldm_eval.report.comparison import reading

__all__ = ["comparison_tables"]

_NAMED = 6
"""Measurements that are named for each reason; ``--json`` and ``--output`` name all."""
_COLOURS = {"better": "green", "worse": "red", "not shown": "dim", "neither": "dim"}


def comparison_tables(comparisons: Sequence[Comparison]) -> RenderableType:
    """A table for each pair, what could not be compared below it."""
    parts: list[RenderableType] = []
    for one in comparisons:
        if one.rows:
            columns = ("measurement", "second is", "first", "second", "difference", f"{100 * one.level:.4g} % interval")
            table = plain_table(f"{one.second} beside {one.first}", columns, (), right=4)
            above = ""
            for row in one.rows:
                if heading_of(row.first) != above:
                    above = heading_of(row.first)
                    table.add_row(Text(above, style="bold"))
                table.add_row(*_row(row))
            parts += [table, Text(f"{reading(one)} * not paired.", style="dim"), ""]
        parts += [Text(f"note: {warning}", style="yellow") for warning in one.warnings]
        if one.refused:
            parts += [plain_table("Not compared", ("why", "measurements"), _refusals(one.refused)), ""]
    return Group(*parts)


def _row(row: Compared) -> list[Text]:
    said = row.verdict if row.p_value is not None else "–"
    return [
        Text(f"  {name_below_heading(row.first)}{'' if row.paired else ' *'}"),
        Text(said, _COLOURS[row.verdict]),
        Text(number(row.first.value)),
        Text(number(row.second.value)),
        Text(number(row.difference)),
        Text(f"[{number(row.interval.low)}, {number(row.interval.high)}]"),
    ]


def _refusals(refused: Sequence[Refused]) -> list[tuple[str, str]]:
    """One row for each reason: many measurements are usually refused for one and the same."""
    named: dict[str, list[str]] = {}
    for item in refused:
        named.setdefault(item.reason, []).append(f"{item.name}" + (f" · {item.group}" if item.group else ""))
    return [
        (reason, ", ".join(names[:_NAMED]) + (f" and {len(names) - _NAMED} more" if len(names) > _NAMED else ""))
        for reason, names in named.items()
    ]
