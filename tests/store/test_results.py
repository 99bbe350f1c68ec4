"""results.json: what is saved is what is read, byte for byte, and what is damaged is refused."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

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
from ldm_eval.store.results import (
    SCHEMA_VERSION,
    CheckRecord,
    DataRecord,
    Results,
    load_results,
    measurement_from_json,
    measurement_to_json,
    outcome_from_json,
    outcome_to_json,
    save_results,
)

SHOWN = {"check", "name", "value", "low", "high", "level", "sided", "estimator", "n", "unit", "direction", "group"}


def _measurement(name: str = "x", group: str | None = None, check: str = "quality/x") -> Measurement:
    interval = Interval(0.1, 0.30000000000000004, 0.95, "Clopper-Pearson", "upper")
    signature = {"extractor": "é", "n": 10, "guidance": 1.5, "flag": True, "none": None}
    return Measurement(check, name, 0.2, interval, 10, "share", "lower", signature, group, 0.05, "a | note")


FIGURE = Figure(
    "curve", "lines", "A curve", "It rises.", "n", "rate",
    (Series("a", (1.0, 2.0), (0.1, 0.2), (0.0, 0.1), (0.2, 0.3)), Series("b", ("one", "two"), (0.5, 0.6))),
    log_x=True, lines={"floor": 0.1},
)  # fmt: skip
OUTCOMES: tuple[CheckOutcome, ...] = (
    Measured(
        (_measurement(), _measurement(group="a"), _measurement("y")),
        (Table("t", "T", ("name", "value"), (("a", 1), ("b", None), ("c", 0.5)), "note"),),
        (FIGURE,),
    ),
    NotApplicable("no holdout"),
    Invalid("the sets differ"),
    Crashed("ValueError: no"),
)
RESULTS = Results(
    tool={"name": "ldm-eval", "version": "0.1.0"},
    model={"name": "m", "backend": "native", "sha256": "0" * 64, "training": None},
    run={"samples": 10, "seed": 0, "suites": ["all"]},
    data=(DataRecord("reference", "mnist", "holdout", "f" * 64, 2500, "CC-BY-SA-3.0"),),
    plugins=({"name": "quality", "distribution": "ldm-eval", "version": "0.1.0"},),
    checks=tuple(CheckRecord(f"quality/{'xnic'[i]}", f"T{i}", f"Q{i}?", outcome) for i, outcome in enumerate(OUTCOMES)),
    unavailable=({"check": "misuse/w", "reason": "needs x: pip install x"},),
    artifacts={"samples/grid.png": "a" * 64},
    partial=False,
    policy_digest=None,
    reproduce="ldm-eval run --model m",
)


def test_results_come_back_as_they_were(tmp_path: Path) -> None:
    save_results(RESULTS, tmp_path)
    assert load_results(tmp_path) == RESULTS
    assert load_results(tmp_path / "results.json") == RESULTS
    assert len(RESULTS.measurements) == 3


def test_saving_what_was_read_gives_the_same_bytes(tmp_path: Path) -> None:
    first = save_results(RESULTS, tmp_path / "a").read_bytes()
    second = save_results(load_results(tmp_path / "a"), tmp_path / "b").read_bytes()
    assert first == second
    assert first.endswith(b"\n")


def test_the_document_shows_what_show_json_promises(tmp_path: Path) -> None:
    document = json.loads(save_results(RESULTS, tmp_path).read_text())
    assert document["schema_version"] == SCHEMA_VERSION == 1
    assert all(set(item) >= {*SHOWN, "signature"} for item in document["measurements"])
    statuses = [item["status"] for item in document["outcomes"]]
    assert statuses == ["measured", "not_applicable", "invalid", "crashed"]
    assert "measurements" not in document["outcomes"][0]


@pytest.mark.parametrize("outcome", OUTCOMES, ids=lambda outcome: type(outcome).__name__)
def test_outcomes_survive_json(outcome: CheckOutcome) -> None:
    assert outcome_from_json(json.loads(json.dumps(outcome_to_json(outcome)))) == outcome


numbers = st.floats(allow_nan=False, allow_infinity=False)


@given(bounds=st.tuples(numbers, numbers), value=numbers, level=st.floats(0.5, 0.999), name=st.text(min_size=1))
def test_any_measurement_survives_json(bounds: tuple[float, float], value: float, level: float, name: str) -> None:
    interval = Interval(min(bounds), max(bounds), level, name)
    found = dataclasses.replace(_measurement(), name=name, value=value, interval=interval)
    assert measurement_from_json(json.loads(json.dumps(measurement_to_json(found)))) == found


def _damage(tmp_path: Path, **change: Any) -> Path:
    path = save_results(RESULTS, tmp_path)
    document = {**json.loads(path.read_text()), **change}
    path.write_text(json.dumps({key: value for key, value in document.items() if value != "gone"}))
    return tmp_path


@pytest.mark.parametrize("version", [0, 2, "1", None])
def test_another_schema_version_is_refused(tmp_path: Path, version: object) -> None:
    with pytest.raises(StoreError, match=f"schema version {version}; this ldm-eval reads version 1"):
        load_results(_damage(tmp_path, schema_version=version))


def test_a_damaged_file_is_refused(tmp_path: Path) -> None:
    path = save_results(RESULTS, tmp_path)
    path.write_bytes(path.read_bytes()[:-200])
    with pytest.raises(StoreError, match="not valid JSON"):
        load_results(tmp_path)
    path.write_text("[1, 2]")
    with pytest.raises(StoreError, match="schema version list"):
        load_results(tmp_path)


@pytest.mark.parametrize(
    "change",
    [
        {"measurements": "gone"},
        {"measurements": [{"check": "quality/x"}]},
        {"outcomes": [{"check": "quality/x"}]},
        {"data": [{"role": "reference"}]},
        {"data": None},
        {"outcomes": 5},
    ],
)
def test_a_file_without_what_belongs_in_it_is_refused(tmp_path: Path, change: dict[str, Any]) -> None:
    with pytest.raises(StoreError, match="is not a results file"):
        load_results(_damage(tmp_path, **change))


def test_an_unknown_outcome_is_refused(tmp_path: Path) -> None:
    outcome = {"check": "quality/x", "title": "", "question": "", "status": "guessed"}
    with pytest.raises(StoreError, match="Unknown outcome status 'guessed'"):
        load_results(_damage(tmp_path, outcomes=[outcome]))


def test_no_results_say_so(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"There is no results\.json"):
        load_results(tmp_path)
    with pytest.raises(ConfigError, match=r"There is no results\.json"):
        load_results(tmp_path / "nowhere")
