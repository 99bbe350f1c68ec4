"""What was measured: the plain summary, and a section for each family of checks."""

from __future__ import annotations

from collections.abc import Mapping

from ldm_eval.api import Interval, Measured, Measurement, Table
from ldm_eval.report.figures import FigureFile, figure_files
from ldm_eval.report.markdown import bullet_list, code, escape, image, table
from ldm_eval.report.numbers import format_count, format_number, interval_text, show
from ldm_eval.report.section import DIRECTIONS, Section, families, family_of, family_title, humanise, level_text
from ldm_eval.store.results import CheckRecord, Results

__all__ = ["family_sections", "summary_section"]

_USUAL = 0.95
_COLUMNS = ("Check", "Measurement", "Value", "Interval", "N", "Real-data floor", "Which way is better")


def summary_section(results: Results) -> Section:
    """One line per check that measured something: its question and its first measurement, made by rule, no prose."""
    lines = []
    for family in families(record.check for record in results.checks):
        answered = [r for r in _of(results, family) if isinstance(r.outcome, Measured) and r.outcome.measurements]
        if answered:
            lines.append(f"**{family_title(family)}**\n\n{bullet_list(_answer(record) for record in answered)}")
    body = "\n\n".join(lines) or "Nothing was measured."
    intro = "What was asked and what was found; the first measurement of each check, the rest is below."
    return Section("In short", f"{intro}\n\n{body}")


def family_sections(results: Results, undrawn: Mapping[str, str]) -> list[Section]:
    """A section per family with measurements, tables and figures.

    Args:
        results: What was measured.
        undrawn: Figure path -> why it could not be drawn.
    """
    files = figure_files(results)
    sections = []
    for family in families(record.check for record in results.checks):
        measured = [record for record in _of(results, family) if isinstance(record.outcome, Measured)]
        if measured:
            sections.append(Section(family_title(family), _family_body(measured, files, undrawn)))
    return sections


def _of(results: Results, family: str) -> list[CheckRecord]:
    return [record for record in results.checks if family_of(record.check) == family]


def _measurements(record: CheckRecord) -> tuple[Measurement, ...]:
    return record.outcome.measurements if isinstance(record.outcome, Measured) else ()


def _answer(record: CheckRecord) -> str:
    found = _measurements(record)
    first = next((m for m in found if m.group is None), found[0])
    percent = first.unit.startswith("share")
    shown = show(first, percent=percent)
    unit = "" if percent else f" {escape(first.unit)}"
    about = f", group {escape(first.group)}" if first.group is not None else ""
    return (
        f"*{escape(record.question)}* {escape(humanise(first.name))}{about}: **{shown.value}**{unit} "
        f"({level_text(first.interval)} interval {interval_text(first.interval, shown)}, "
        f"n = {format_count(first.n)}; {DIRECTIONS[first.direction]}).{_against_floor(first, shown.floor)}"
    )


def _against_floor(measurement: Measurement, floor: str) -> str:
    """How the interval lies to the same measure on real images: one of three sentences, by rule.

    The floor is one draw with noise of its own, and the sentence says so. Nothing for a one-sided interval: its open
    side reaches every floor, whatever the truth is.
    """
    if measurement.floor is None or measurement.interval.sided != "two":
        return ""
    if measurement.interval.low > measurement.floor:
        place = "lies above"
    elif measurement.interval.high < measurement.floor:
        place = "lies below"
    else:
        place = "holds"
    return f" The interval {place} what real images give in one draw ({floor})."


def _family_body(records: list[CheckRecord], files: tuple[FigureFile, ...], undrawn: Mapping[str, str]) -> str:
    overall = [(r, m) for r in records for m in _measurements(r) if m.group is None]
    grouped = [(r, m) for r in records for m in _measurements(r) if m.group is not None]
    parts = []
    if overall:
        parts.append(table(_COLUMNS, [_row(r, m) for r, m in overall], right=(2, 4, 5)))
    if grouped:
        columns = (*_COLUMNS[:2], "Group", *_COLUMNS[2:])
        rows = [(*cells[:2], escape(m.group), *cells[2:]) for r, m in grouped for cells in [_row(r, m)]]
        parts.append(f"By group:\n\n{table(columns, rows, right=(3, 5, 6))}")
    if not parts:
        parts.append("The checks of this family ran and reported no measurement.")
    parts.append(_estimators([*overall, *grouped]))
    parts += [_details(record, files, undrawn) for record in records]
    return "\n\n".join(filter(None, parts))


def _estimators(rows: list[tuple[CheckRecord, Measurement]]) -> str:
    """How the intervals of the tables above were made: one line per estimator, with what it was used for."""
    used: dict[str, dict[str, None]] = {}
    for _, measurement in rows:
        used.setdefault(measurement.interval.estimator, {})[code(measurement.name)] = None
    lines = bullet_list(f"{escape(estimator)}: {', '.join(names)}" for estimator, names in used.items())
    return (
        f"Intervals are at 95 % and two-sided where nothing else is said. They were made by\n\n{lines}" if used else ""
    )


def _level_beside(interval: Interval) -> str:
    """The level, where it is not the usual one."""
    usual = interval.level == _USUAL and interval.sided == "two"
    return "" if usual else f" ({level_text(interval)})"


def _row(record: CheckRecord, measurement: Measurement) -> tuple[str, ...]:
    shown, interval = show(measurement), measurement.interval
    return (
        escape(record.title),
        f"{code(measurement.name)}, {escape(measurement.unit)}",
        shown.value,
        f"{interval_text(interval, shown)}{_level_beside(interval)}",
        format_count(measurement.n),
        shown.floor or "–",
        DIRECTIONS[measurement.direction],
    )


def _details(record: CheckRecord, files: tuple[FigureFile, ...], undrawn: Mapping[str, str]) -> str:
    """A check's own heading: its question, notes, tables and figures."""
    tables = record.outcome.tables if isinstance(record.outcome, Measured) else ()
    notes = [
        f"{code(m.name)}{f' ({escape(m.group)})' if m.group is not None else ''}: {escape(m.note)}"
        for m in _measurements(record)
        if m.note
    ]
    parts = [f"### {escape(record.title)}", f"{code(record.check)}. {escape(record.question)}"]
    if notes:
        parts.append(bullet_list(notes))
    parts += [_table(one) for one in tables]
    for file in files:
        if file.check == record.check:
            parts.append(_figure(file, undrawn.get(file.path, "")))
    return "\n\n".join(parts)


def _table(one: Table) -> str:
    numeric = [i for i in range(len(one.columns)) if all(isinstance(row[i], int | float | None) for row in one.rows)]
    body = table([escape(c) for c in one.columns], [[_cell(cell) for cell in row] for row in one.rows], right=numeric)
    note = f"\n\n{escape(one.note)}" if one.note else ""
    return f"**{escape(one.title)}**\n\n{body}{note}"


def _cell(cell: str | int | float | None) -> str:
    if cell is None:
        return "–"
    if isinstance(cell, bool):
        return "yes" if cell else "no"
    return format_number(cell) if isinstance(cell, int | float) else escape(cell)


def _figure(file: FigureFile, problem: str) -> str:
    if problem:
        return f"The figure “{escape(file.figure.title)}” could not be drawn: {escape(problem)}"
    # the title names the feature space, where there is more than one, and the alternative text of a check cannot
    return image(f"{file.figure.title}. {file.figure.alt}".strip(), file.path)
