"""``results.json``: the only thing that leaves a run. Schema version 1, documented in ``docs/results.md``.

It holds no time, no host name and no path but those the user typed, so that two runs of the same command are the same
bytes.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from ldm_eval.api import (
    CheckOutcome,
    Crashed,
    Figure,
    Interval,
    Invalid,
    Measured,
    Measurement,
    NotApplicable,
    Series,
    Table,
)
from ldm_eval.errors import ConfigError, StoreError
from ldm_eval.store.atomic import read_json, write_json

__all__ = [
    "SCHEMA_VERSION",
    "CheckRecord",
    "DataRecord",
    "Results",
    "load_results",
    "measurement_from_json",
    "measurement_to_json",
    "outcome_from_json",
    "outcome_to_json",
    "save_results",
]

SCHEMA_VERSION = 1


@dataclass(frozen=True, slots=True)
class DataRecord:
    """Which images played a role: how they were named, their digest, how many, their licence."""

    role: str
    name: str
    split: str
    digest: str
    n: int
    licence: str


@dataclass(frozen=True, slots=True)
class CheckRecord:
    """One check and how it ended. ``title`` and ``question`` are repeated so that a card needs no plugin."""

    check: str
    title: str
    question: str
    outcome: CheckOutcome


@dataclass(frozen=True, slots=True)
class Results:
    """Everything a run found.

    Attributes:
        tool: ``{"name", "version"}``.
        model: ModelIdentity as JSON, ``training`` included.
        run: Settings that decide the numbers: suites, samples, seed, sampler, steps, guidance, extractor, ...
        data: The image sets behind the roles.
        plugins: ``[{"name", "distribution", "version"}]`` of the plugins whose checks ran.
        checks: Every check that was asked for, in order, with its outcome.
        unavailable: ``[{"check", "reason"}]`` of checks that are installed but cannot run (missing extra).
        artifacts: ``samples`` -> digest of the sampled images; relative path -> SHA-256 of files in the run folder.
        partial: True when ``--limit`` was used: the gate refuses such results.
        policy_digest: SHA-256 of the policy recorded before sampling started, or None.
        reproduce: The command that makes these results again.
    """

    tool: Mapping[str, str]
    model: Mapping[str, Any]
    run: Mapping[str, Any]
    data: tuple[DataRecord, ...]
    plugins: tuple[Mapping[str, str], ...]
    checks: tuple[CheckRecord, ...]
    unavailable: tuple[Mapping[str, str], ...]
    artifacts: Mapping[str, str]
    partial: bool
    policy_digest: str | None
    reproduce: str

    @property
    def measurements(self) -> tuple[Measurement, ...]:
        """All measurements of all checks, in order."""
        return tuple(
            measurement
            for record in self.checks
            if isinstance(record.outcome, Measured)
            for measurement in record.outcome.measurements
        )

    def to_json(self) -> dict[str, Any]:
        """The document of ``results.json``."""
        return {
            "schema_version": SCHEMA_VERSION,
            "tool": dict(self.tool),
            "model": dict(self.model),
            "run": dict(self.run),
            "data": [asdict(record) for record in self.data],
            "plugins": [dict(plugin) for plugin in self.plugins],
            "measurements": [measurement_to_json(m) for m in self.measurements],
            "outcomes": [
                {"check": r.check, "title": r.title, "question": r.question, **outcome_to_json(r.outcome, brief=True)}
                for r in self.checks
            ],
            "unavailable": [dict(item) for item in self.unavailable],
            "artifacts": dict(self.artifacts),
            "partial": self.partial,
            "policy_digest": self.policy_digest,
            "reproduce": self.reproduce,
        }


def measurement_to_json(measurement: Measurement) -> dict[str, Any]:
    """One measurement as the flat object that ``show --json`` prints."""
    interval = measurement.interval
    return {
        "check": measurement.check,
        "name": measurement.name,
        "value": measurement.value,
        "low": interval.low,
        "high": interval.high,
        "level": interval.level,
        "sided": interval.sided,
        "estimator": interval.estimator,
        "n": measurement.n,
        "unit": measurement.unit,
        "direction": measurement.direction,
        "group": measurement.group,
        "floor": measurement.floor,
        "note": measurement.note,
        "signature": dict(measurement.signature),
    }


def measurement_from_json(item: Mapping[str, Any]) -> Measurement:
    """The inverse of ``measurement_to_json``."""
    return Measurement(
        check=item["check"],
        name=item["name"],
        value=item["value"],
        interval=Interval(item["low"], item["high"], item["level"], item["estimator"], item["sided"]),
        n=item["n"],
        unit=item["unit"],
        direction=item["direction"],
        signature=dict(item["signature"]),
        group=item["group"],
        floor=item["floor"],
        note=item["note"],
    )


def outcome_to_json(outcome: CheckOutcome, *, brief: bool = False) -> dict[str, Any]:
    """An outcome as JSON: ``status`` and what belongs to it. ``brief`` leaves the measurements out."""
    match outcome:
        case Measured(measurements, tables, figures):
            body: dict[str, Any] = {
                "status": "measured",
                "tables": [asdict(table) for table in tables],
                "figures": [asdict(figure) for figure in figures],
            }
            if not brief:
                body["measurements"] = [measurement_to_json(m) for m in measurements]
            return body
        case NotApplicable(reason):
            return {"status": "not_applicable", "reason": reason}
        case Invalid(reason):
            return {"status": "invalid", "reason": reason}
        case Crashed(error):
            return {"status": "crashed", "error": error}


def outcome_from_json(item: Mapping[str, Any]) -> CheckOutcome:
    """The inverse of ``outcome_to_json`` (not brief).

    Raises:
        StoreError: for an unknown status.
    """
    match item["status"]:
        case "measured":
            return Measured(
                tuple(measurement_from_json(m) for m in item["measurements"]),
                tuple(_table(table) for table in item["tables"]),
                tuple(_figure(figure) for figure in item["figures"]),
            )
        case "not_applicable":
            return NotApplicable(item["reason"])
        case "invalid":
            return Invalid(item["reason"])
        case "crashed":
            return Crashed(item["error"])
        case other:
            raise StoreError(f"Unknown outcome status '{other}' in a results file; it may be of a newer ldm-eval.")


def save_results(results: Results, folder: Path) -> Path:
    """Write ``results.json`` into ``folder`` and return its path. Raises StoreError."""
    path = folder / "results.json"
    write_json(path, results.to_json())
    return path


def load_results(folder: Path) -> Results:
    """Read ``results.json`` of a run folder (or the file itself).

    Raises:
        ConfigError: when there is none.
        StoreError: when it is damaged, or of a schema this version does not know.
    """
    path = folder / "results.json" if folder.is_dir() else folder
    if not path.is_file():
        raise ConfigError(f"There is no results.json in {folder}; name the folder of a finished run.")
    document = read_json(path)
    if not isinstance(document, dict) or document.get("schema_version") != SCHEMA_VERSION:
        found = document.get("schema_version") if isinstance(document, dict) else type(document).__name__
        raise StoreError(f"{path} has schema version {found}; this ldm-eval reads version {SCHEMA_VERSION}.")
    try:
        return _results(document)
    except (KeyError, TypeError, AttributeError) as error:
        raise StoreError(f"{path} is not a results file of ldm-eval ({type(error).__name__}: {error}).") from error


def _results(document: Mapping[str, Any]) -> Results:
    by_check: dict[str, list[Any]] = {}
    for item in document["measurements"]:
        by_check.setdefault(item["check"], []).append(item)
    records = tuple(
        CheckRecord(
            item["check"],
            item["title"],
            item["question"],
            outcome_from_json({**item, "measurements": by_check.get(item["check"], [])}),
        )
        for item in document["outcomes"]
    )
    return Results(
        tool=document["tool"],
        model=document["model"],
        run=document["run"],
        data=tuple(DataRecord(**record) for record in document["data"]),
        plugins=tuple(document["plugins"]),
        checks=records,
        unavailable=tuple(document["unavailable"]),
        artifacts=document["artifacts"],
        partial=document["partial"],
        policy_digest=document["policy_digest"],
        reproduce=document["reproduce"],
    )


def _table(item: Mapping[str, Any]) -> Table:
    rows = tuple(tuple(row) for row in item["rows"])
    return Table(item["name"], item["title"], tuple(item["columns"]), rows, item["note"])


def _figure(item: Mapping[str, Any]) -> Figure:
    series = tuple(
        Series(s["name"], tuple(s["x"]), tuple(s["y"]), tuple(s["low"]), tuple(s["high"])) for s in item["series"]
    )
    return Figure(**{**item, "series": series})
