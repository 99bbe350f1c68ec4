"""Two models beside each other: every measurement that may be compared, with the interval of its difference."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
from scipy.special import ndtr, ndtri

from ldm_eval.api import ROLES, Interval, Measurement, Role
from ldm_eval.errors import ConfigError, StoreError, did_you_mean
from ldm_eval.stats.multiplicity import holm
from ldm_eval.stats.paired import Contributed, paired_difference
from ldm_eval.store.contributions import Contribution, contributions_path, load_contributions
from ldm_eval.store.results import Results, load_results

__all__ = ["Compared", "Comparison", "Refused", "Side", "Verdict", "compare", "load_side"]

Verdict = Literal["better", "worse", "not shown", "neither"]
"""Of the second model beside the first; ``neither`` where no direction is better."""

MOVER = "square-and-add of the two intervals"
_FINISHED = "finished-images"
_SIZES = frozenset({"n", "real_n", "other_real_n", "against_n"})


@dataclass(frozen=True, slots=True, eq=False)
class Side:
    """One finished run as it enters a comparison.

    Attributes:
        label: How it is called in tables.
        results: Its results.
        contributions: Check -> what each image contributed; empty where the run kept nothing.
    """

    label: str
    results: Results
    contributions: Mapping[str, tuple[Contribution, ...]] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Compared:
    """One measurement of two models.

    Attributes:
        first, second: The measurements.
        difference: ``second - first``.
        interval: Of the difference.
        paired: Roles whose images were paired one by one; empty where the two count as independent.
        p_value: Of no difference, adjusted by Holm's method for all rows; None where no direction is better.
        verdict: What the difference says of the second model, at the family's level.
    """

    first: Measurement
    second: Measurement
    difference: float
    interval: Interval
    paired: tuple[Role, ...]
    p_value: float | None = None
    verdict: Verdict = "neither"


@dataclass(frozen=True, slots=True)
class Refused:
    """A measurement that may not be compared, and why."""

    check: str
    name: str
    group: str | None
    reason: str


@dataclass(frozen=True, slots=True)
class Comparison:
    """The second run beside the first.

    Attributes:
        first, second: Labels.
        level: Of the intervals, and of all verdicts together.
        rows: What could be compared, in the order of the first run.
        refused: What could not.
        warnings: What a reader must know.
    """

    first: str
    second: str
    level: float
    rows: tuple[Compared, ...]
    refused: tuple[Refused, ...]
    warnings: tuple[str, ...]

    def to_json(self) -> dict[str, Any]:
        """The comparison as a document."""
        return {
            "first": self.first,
            "second": self.second,
            "level": self.level,
            "rows": [_row_to_json(row) for row in self.rows],
            "refused": [
                {"check": one.check, "name": one.name, "group": one.group, "reason": one.reason} for one in self.refused
            ],
            "warnings": list(self.warnings),
        }


def _row_to_json(row: Compared) -> dict[str, Any]:
    return {
        "check": row.first.check,
        "name": row.first.name,
        "group": row.first.group,
        "unit": row.first.unit,
        "direction": row.first.direction,
        "n": row.first.n,
        "first": row.first.value,
        "second": row.second.value,
        "difference": row.difference,
        "low": row.interval.low,
        "high": row.interval.high,
        "estimator": row.interval.estimator,
        "paired": list(row.paired),
        "p_value_adjusted": row.p_value,
        "verdict": row.verdict,
    }


def load_side(folder: Path) -> Side:
    """Read a finished run with what its images contribute.

    Raises:
        ConfigError: when there is no finished run, or its results are partial.
        StoreError: when what the images contribute was altered after the run.
    """
    if folder.is_file() and folder.suffix != ".json":
        raise ConfigError(f"{folder} is a file; name the folder of a finished run.")
    results = load_results(folder)
    if results.partial:
        raise ConfigError(f"The results in {folder} are partial (made with --limit); compare whole runs.")
    home = folder if folder.is_dir() else folder.parent
    kept = {}
    for record in results.checks:
        path = contributions_path(home / "contributions", record.check)
        recorded = results.artifacts.get(f"contributions/{path.name}")
        if recorded is None or not path.is_file():
            continue
        if hashlib.sha256(path.read_bytes()).hexdigest() != recorded:
            raise StoreError(f"{path} is not what the run wrote (its digest differs); run again, or remove the file.")
        kept[record.check] = load_contributions(path)
    name = str(results.model.get("name", ""))
    return Side(f"{name} ({home.name})" if name else home.name, results, kept)


def compare(first: Side, second: Side, across: Collection[str] = (), level: float = 0.95) -> Comparison:
    """Compare every measurement that both runs have under one protocol.

    Args:
        first: The baseline.
        second: What is compared with it.
        across: Fields of the protocol that may differ because they are what is compared (``guidance``, ``steps``...).
        level: Of every interval; the verdicts together err with probability at most one minus it.

    Raises:
        ConfigError: for a level outside (0.5, 1) or a field that no measurement has.
    """
    if not 0.5 < level < 1.0:
        raise ConfigError(f"The level must lie between 0.5 and 1; found {level!r}.")
    _refuse_unknown_fields(across, first, second)
    theirs = {_key(one): one for one in second.results.measurements}
    mine = {_key(one): one for one in first.results.measurements}
    shared = _shared_roles(first.results, second.results)
    rows, refused = [], []
    for key, measurement in mine.items():
        reason = _why_not(measurement, theirs.get(key), across)
        if reason:
            refused.append(Refused(measurement.check, measurement.name, measurement.group, reason))
            continue
        rows.append(
            _compared(measurement, theirs[key], _contributions(first, key), _contributions(second, key), shared, level)
        )
    only = [one for key, one in theirs.items() if key not in mine]
    refused += [Refused(m.check, m.name, m.group, f"only {second.label} has it") for m in only]
    return Comparison(
        first.label,
        second.label,
        level,
        _judged(rows, level),
        tuple(refused),
        (*_about_sizes(across), *_warnings(first.results, second.results)),
    )


_Key = tuple[str, str, str | None]


def _key(measurement: Measurement) -> _Key:
    return measurement.check, measurement.name, measurement.group


def _refuse_unknown_fields(across: Collection[str], first: Side, second: Side) -> None:
    known = {name for side in (first, second) for one in side.results.measurements for name in one.signature}
    for name in across:
        if name not in known:
            raise ConfigError(f"--across {name}: no measurement has this field.{did_you_mean(name, known)}")


def _why_not(first: Measurement, second: Measurement | None, across: Collection[str]) -> str:
    """Why two measurements may not be compared; empty when they may."""
    if second is None:
        return "only the first run has it"
    fields = sorted({*first.signature, *second.signature} - {*across})
    different = [name for name in fields if first.signature.get(name) != second.signature.get(name)]
    if different:
        shown = ", ".join(
            f"{name} is {first.signature.get(name, 'absent')!r} and {second.signature.get(name, 'absent')!r}"
            for name in different[:3]
        )
        more = f", and {len(different) - 3} more differ" if len(different) > 3 else ""
        return f"not comparable: {shown}{more} (--across {','.join(different)} compares them all the same)"
    sides = {first.interval.sided, second.interval.sided}
    if sides != {"two"} or first.interval.level != second.interval.level:
        return "their intervals are one-sided or of different levels"
    return ""


def _shared_roles(first: Results, second: Results) -> frozenset[Role]:
    """Sets whose image i is the same draw on both sides: equal real images, samples of equal seeds."""
    digests = [{record.role: record.digest for record in results.data} for results in (first, second)]
    real = [role for role in ROLES if role in digests[0] and role not in ("samples", "reconstruction")]
    shared: set[Role] = {role for role in real if digests[0][role] == digests[1].get(role)}
    if first.run.get("seed") == second.run.get("seed") and first.run.get("samples") == second.run.get("samples"):
        rules = {one.signature.get("seed_rule") for side in (first, second) for one in side.measurements}
        if _FINISHED not in rules or first.artifacts.get("samples") == second.artifacts.get("samples"):
            shared.add("samples")
    return frozenset(shared)


def _contributions(side: Side, key: _Key) -> dict[Role, Any]:
    check, name, group = key
    return {
        one.role: one.values.astype(np.float64)
        for one in side.contributions.get(check, ())
        if (one.name, one.group) == (name, group)
    }


def _compared(
    first: Measurement,
    second: Measurement,
    mine: Mapping[Role, Any],
    theirs: Mapping[Role, Any],
    shared: frozenset[Role],
    level: float,
) -> Compared:
    if mine and set(mine) == set(theirs):
        pairs = tuple(role for role in mine if role in shared and len(mine[role]) == len(theirs[role]))
        found = paired_difference(Contributed(second.value, theirs), Contributed(first.value, mine), pairs, level=level)
        return Compared(first, second, found.value, found.interval, pairs)
    return Compared(first, second, second.value - first.value, _square_and_add(first, second, level), ())


def _square_and_add(first: Measurement, second: Measurement, level: float) -> Interval:
    """Interval of ``second - first`` from their own, taken as independent (Zou and Donner 2008, MOVER).

    Arms are scaled from the level of the intervals to the one asked for as a normal law's would be.
    """
    scale = float(ndtri(0.5 + level / 2) / ndtri(0.5 + first.interval.level / 2))
    a, b = first.interval, second.interval
    down = math.hypot(second.value - b.low, a.high - first.value) * scale
    up = math.hypot(b.high - second.value, first.value - a.low) * scale
    value = second.value - first.value
    return Interval(value - down, value + up, level, MOVER)


def _judged(rows: Sequence[Compared], level: float) -> tuple[Compared, ...]:
    """Adjusted p-values and verdicts of the rows in which a direction is better."""
    directed = [at for at, row in enumerate(rows) if row.first.direction in ("lower", "higher")]
    adjusted = holm([_p_value(rows[at], level) for at in directed])
    judged = list(rows)
    for at, p in zip(directed, adjusted.tolist(), strict=True):
        row = rows[at]
        falls = row.difference < 0
        good: Verdict = "better" if falls == (row.first.direction == "lower") else "worse"
        judged[at] = replace(row, p_value=p, verdict=good if p <= 1 - level else "not shown")
    return tuple(judged)


def _p_value(row: Compared, level: float) -> float:
    """Two-sided p of no difference, from the arm of the interval that points to zero."""
    arm = row.difference - row.interval.low if row.difference > 0 else row.interval.high - row.difference
    if row.difference == 0:
        return 1.0
    if arm <= 0:
        return 0.0
    return float(2 * ndtr(-abs(row.difference) / arm * ndtri(0.5 + level / 2)))


def _about_sizes(across: Collection[str]) -> tuple[str, ...]:
    """A warning where numbers of different n are compared: many measures change with n for one and the same model."""
    if not _SIZES & {*across}:
        return ()
    return (
        "Numbers of different n are compared. Fréchet and sliced distances, Inception and Vendi scores, precision, "
        "recall, coverage and published MMD change with n alone; read the excess over the floor, the limit at infinite "
        "n and the unbiased kernel distances.",
    )


def _warnings(first: Results, second: Results) -> tuple[str, ...]:
    found = []
    if first.model.get("sha256") == second.model.get("sha256"):
        found.append("Both runs are of the same model.")
    for name in ("version", "torch", "numpy", "scipy"):
        if first.tool.get(name) != second.tool.get(name):
            of = "ldm-eval" if name == "version" else name
            found.append(f"They were measured with {of} {first.tool.get(name)} and {second.tool.get(name)}.")
    if first.run.get("device") != second.run.get("device"):
        found.append(f"They were measured on {first.run.get('device')} and {second.run.get('device')}.")
    return tuple(found)
