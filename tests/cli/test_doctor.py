from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from ldm_eval.cli import health
from ldm_eval.cli.app import app
from ldm_eval.cli.health import Finding


def test_the_doctor_looks_at_everything_and_a_working_installation_is_usable() -> None:
    done = CliRunner().invoke(app, ["doctor", "--json"], catch_exceptions=False)
    assert done.exit_code == 0, done.output
    seen = {finding["subject"]: finding["state"] for finding in json.loads(done.stdout)}
    assert {"python", "platform", "torch", "threads", "cache", "results", "plugins"} <= set(seen)
    assert seen["torch"] == "ok"
    assert seen["extractor efficientnet-lite0"] == "ok"


def test_a_problem_gives_exit_code_four(monkeypatch: pytest.MonkeyPatch) -> None:
    broken = [Finding("torch", "problem", "not [installed]")]
    monkeypatch.setattr(health, "examine", lambda catalogue, cache, reports: broken)
    done = CliRunner().invoke(app, ["doctor"], catch_exceptions=False)
    assert done.exit_code == 4
    assert "not [installed]" in done.stdout


def test_a_folder_that_cannot_be_made_is_a_problem(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(**_: object) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(health.tempfile, "TemporaryFile", refuse)
    assert health._writable("cache", tmp_path / "new").state == "problem"
