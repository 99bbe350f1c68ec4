from __future__ import annotations

import json
import subprocess
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from typer.testing import CliRunner

from ldm_eval.api import Interval, Measurement
from ldm_eval.cli.app import app
from ldm_eval.cli.tables import heading_of, name_below_heading
from ldm_eval.store.results import Results, measurement_to_json

Call = Callable[..., "subprocess.CompletedProcess[str]"]

KEYS = {"check", "name", "value", "low", "high", "level", "sided", "estimator", "n", "unit", "direction", "group"}


def test_json_gives_the_measurements_and_outcomes_and_nothing_else(folder: Path, results: Results) -> None:
    done = CliRunner().invoke(app, ["show", str(folder), "--json"], catch_exceptions=False)
    document = json.loads(done.stdout)
    assert list(document) == ["schema_version", "measurements", "outcomes"]
    assert document["measurements"] == [measurement_to_json(m) for m in results.measurements]
    assert all({*KEYS, "signature"} <= set(measurement) for measurement in document["measurements"])
    assert {outcome["status"] for outcome in document["outcomes"]} == {
        "measured",
        "not_applicable",
        "invalid",
        "crashed",
    }


def test_the_table_fits_a_terminal_of_eighty_columns(folder: Path, call: Call) -> None:
    done = call("show", str(folder), COLUMNS="80")
    assert done.returncode == 0
    assert max(len(line) for line in done.stdout.splitlines()) <= 80
    assert "12.35" in done.stdout


def test_numbers_of_a_further_feature_space_stand_under_its_name() -> None:
    first = Measurement("quality/distance", "fid", 3.0, Interval(2.0, 4.0, 0.95, "test"), 100, "distance", "lower", {})
    further = replace(first, name="fid@another-extractor-with-a-long-name", group="class 1")
    assert [heading_of(one) for one in (first, further)] == [
        "quality/distance",
        "quality/distance @another-extractor-with-a-long-name",
    ]
    assert [name_below_heading(one) for one in (first, further)] == ["fid", "fid · class 1"]


@pytest.mark.parametrize("command", [["show"], ["gate", "--policy", "p.toml"], ["card"]], ids=lambda c: c[0])
def test_a_folder_that_is_not_there_is_bad_input(command: list[str], call: Call) -> None:
    done = call(*command, "nowhere")
    assert done.returncode == 2
    assert "'nowhere' does not exist" in done.stderr
    assert done.stdout == ""


def test_a_folder_without_a_run_is_told(tmp_path: Path, call: Call) -> None:
    done = call("show", str(tmp_path))
    assert done.returncode == 2
    assert "There is no results.json in" in done.stderr
    assert done.stdout == ""
