"""What results, settings and plugins look like on a terminal; nothing here prints or decides."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

from rich import box
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from ldm_eval.api import Crashed, Interval, Invalid, Measured, Measurement, NotApplicable

if TYPE_CHECKING:
    from ldm_eval.cli.health import Finding
    from ldm_eval.run.config import ResolvedConfig
    from ldm_eval.store.results import CheckRecord, Results

__all__ = [
    "findings_table",
    "heading_of",
    "interval_text",
    "name_below_heading",
    "number",
    "plain_table",
    "results_document",
    "results_tables",
    "settings_document",
    "settings_table",
]

_ARROWS = {"lower": "↓", "higher": "↑", "target": "◎", "none": " "}


def plain_table(title: str, columns: Sequence[str], rows: Iterable[Sequence[str | Text]], right: int = 0) -> Table:
    """A table of texts, taken literally; the last ``right`` columns are numbers."""
    table = Table(title=title or None, title_justify="left", title_style="bold", box=box.SIMPLE_HEAD)
    table.pad_edge, table.padding = False, (0, 1, 0, 0)
    for position, column in enumerate(columns):
        numeric = position >= len(columns) - right
        table.add_column(column, justify="right" if numeric else "left", overflow="fold", no_wrap=numeric)
    for row in rows:
        table.add_row(*[cell if isinstance(cell, Text) else Text(cell) for cell in row])
    return table


def number(value: float | int | None) -> str:
    """Four significant digits; a dash for absence."""
    if value is None:
        return "–"
    return f"{value:.4g}" if isinstance(value, float) else f"{value}"


def interval_text(interval: Interval) -> str:
    """``[low, high]``, or the one bound that counts."""
    if interval.sided == "upper":
        return f"≤ {number(interval.high)}"
    if interval.sided == "lower":
        return f"≥ {number(interval.low)}"
    return f"[{number(interval.low)}, {number(interval.high)}]"


def results_tables(results: Results) -> RenderableType:
    """Measurements under their check, then every check without numbers and why."""
    parts: list[RenderableType] = []
    if results.measurements:
        parts += [_measurements(results), Text("↓ lower is better  ↑ higher is better  ◎ near a target", style="dim")]
    missing = [_without_numbers(record) for record in results.checks if not isinstance(record.outcome, Measured)]
    missing += [(Text(item["check"]), Text("unavailable", "yellow"), item["reason"]) for item in results.unavailable]
    if missing:
        parts += ["", plain_table("Not measured", ("check", "outcome", "why"), missing)]
    if results.partial:
        parts += ["", Text("Partial: --limit was used, so a gate refuses these results.", style="yellow")]
    return Group(*parts)


def _measurements(results: Results) -> Table:
    levels = {measurement.interval.level for measurement in results.measurements}
    heading = f"{levels.pop():.0%} interval".replace("%", " %") if len(levels) == 1 else "interval"
    table = plain_table("Measurements", ("measurement", "value", heading, "n", "floor"), (), right=4)
    for record in results.checks:
        if not isinstance(record.outcome, Measured):
            continue
        above = record.check
        table.add_row(Text(above, style="bold"))
        for measurement in record.outcome.measurements:
            if heading_of(measurement) != above:
                above = heading_of(measurement)
                table.add_row(Text(above, style="bold"))
            table.add_row(*_measurement_row(measurement))
    return table


def heading_of(measurement: Measurement) -> str:
    """``check``, or ``check @space`` for a further feature space, whose name would push a table's columns apart."""
    space = measurement.name.partition("@")[2]
    return f"{measurement.check} @{space}" if space else measurement.check


def name_below_heading(measurement: Measurement) -> str:
    """The measurement and its group, less what ``heading_of`` says already."""
    name = measurement.name.partition("@")[0]
    return f"{name} · {measurement.group}" if measurement.group else name


def _measurement_row(measurement: Measurement) -> list[Text]:
    return [
        Text(f"{_ARROWS[measurement.direction]} {name_below_heading(measurement)}"),
        Text(number(measurement.value)),
        Text(interval_text(measurement.interval)),
        Text(f"{measurement.n}"),
        Text(number(measurement.floor)),
    ]


def _without_numbers(record: CheckRecord) -> tuple[Text, Text, str]:
    match record.outcome:
        case NotApplicable(reason):
            return Text(record.check), Text("not applicable", "dim"), reason
        case Invalid(reason):
            return Text(record.check), Text("invalid", "yellow"), reason
        case Crashed(error):
            return Text(record.check), Text("crashed", "red"), error
        case _:
            return Text(record.check), Text("measured, nothing reported"), ""


def results_document(results: Results) -> dict[str, Any]:
    """What ``--json`` prints: the measurements and outcomes of results.json and nothing else."""
    document = results.to_json()
    return {key: document[key] for key in ("schema_version", "measurements", "outcomes")}


def findings_table(findings: Sequence[Finding]) -> Table:
    """What ``doctor`` found."""
    marks = {"ok": Text("ok", "green"), "note": Text("note", "yellow"), "problem": Text("problem", "bold red")}
    return plain_table(
        "Doctor", ("", "looked at", "found"), [(marks[f.state], Text(f.subject, "bold"), f.text) for f in findings]
    )


def settings_table(resolved: ResolvedConfig) -> Table:
    """Every setting, its value and where it came from."""
    rows = [
        (name, _value(name, getattr(resolved.config, name)), Text(source, "" if source == "default" else "bold cyan"))
        for name, source in resolved.sources.items()
    ]
    return plain_table("Settings", ("setting", "value", "source"), rows)


def settings_document(resolved: ResolvedConfig) -> dict[str, Any]:
    """The same as JSON."""
    return {
        name: {"value": getattr(resolved.config, name), "source": source} for name, source in resolved.sources.items()
    }


def _value(name: str, value: object) -> str:
    if isinstance(value, tuple):
        return ", ".join(value) or "–"
    if isinstance(value, bool):
        return "yes" if value else "no"
    undecided = value in ("", {}) or (value == 0 and name != "seed")
    return "–" if undecided else f"{value}"
