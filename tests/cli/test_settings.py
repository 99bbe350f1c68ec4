from __future__ import annotations

import dataclasses
import json
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from ldm_eval.cli.app import app
from ldm_eval.run.config import RunConfig
from ldm_eval.run.training import TrainSettings

Call = Callable[..., "subprocess.CompletedProcess[str]"]


def _settings(*arguments: str) -> dict[str, Any]:
    done = CliRunner().invoke(app, ["run", "--show-config", "--json", *arguments], catch_exceptions=False)
    assert done.exit_code == 0, done.output
    document: dict[str, Any] = json.loads(done.stdout)
    return document


def test_an_option_wins_over_the_environment_over_the_file_over_the_default(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "run.toml"
    file.write_text('samples = 1\nsteps = 2\nseed = 3\nbatch-size = 4\n[checks."quality/kid"]\nk = 5\n')
    monkeypatch.setenv("LDM_EVAL_SAMPLES", "10")
    monkeypatch.setenv("LDM_EVAL_STEPS", "20")
    found = _settings("--config", str(file), "--samples", "100")
    assert found["samples"] == {"value": 100, "source": "option"}
    assert found["steps"] == {"value": 20, "source": "environment"}
    assert found["seed"] == {"value": 3, "source": "file"}
    assert found["batch_size"] == {"value": 4, "source": "file"}
    assert found["checks"] == {"value": {"quality/kid": {"k": 5}}, "source": "file"}
    assert found["sampler"] == {"value": "", "source": "default"}


def test_an_option_equal_to_the_default_still_counts_as_given(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LDM_EVAL_SEED", "7")
    assert _settings("--seed", "0")["seed"] == {"value": 0, "source": "option"}


def test_a_switch_can_be_switched_back(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LDM_EVAL_OFFLINE", "1")
    assert _settings()["offline"] == {"value": True, "source": "environment"}
    assert _settings("--no-offline")["offline"] == {"value": False, "source": "option"}
    assert _settings("--no-resume")["resume"] == {"value": False, "source": "option"}


def test_the_configuration_file_can_be_named_in_the_environment(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "run.toml"
    file.write_text("seed = 11\n")
    monkeypatch.setenv("LDM_EVAL_CONFIG", str(file))
    assert _settings()["seed"] == {"value": 11, "source": "file"}


def test_names_may_be_repeated_or_separated_by_commas() -> None:
    once = _settings("--suite", "quality,privacy")["suite"]
    assert once == {"value": ["quality", "privacy"], "source": "option"}
    assert _settings("--suite", "quality", "--suite", "privacy")["suite"] == once


def test_show_config_names_value_and_source_for_people() -> None:
    done = CliRunner().invoke(app, ["run", "--show-config", "--seed", "5"], catch_exceptions=False)
    row = next(line for line in done.stdout.splitlines() if line.strip().startswith("seed"))
    assert row.split() == ["seed", "5", "option"]


@pytest.mark.parametrize(
    ("command", "settings", "without"), [("run", RunConfig, {"checks"}), ("train", TrainSettings, {"options"})]
)
def test_every_setting_is_an_option_with_the_help_of_its_field(
    command: str, settings: type[Any], without: set[str], call: Call
) -> None:
    text = call(command, "--help", COLUMNS="200").stdout
    words = " ".join(text.replace("│", " ").split())
    for field in dataclasses.fields(settings):
        if field.name not in without:
            assert f"--{field.name.replace('_', '-')} " in words
            assert " ".join(field.metadata["help"].split()) in words


def test_help_fits_eighty_columns(call: Call) -> None:
    for command in ("run", "train", "sample", "gate"):
        text = call(command, "--help", COLUMNS="80").stdout
        assert max(len(line) for line in text.splitlines()) <= 80
