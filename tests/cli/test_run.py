from __future__ import annotations

import dataclasses
import json
import os
import subprocess
import sys
from datetime import date
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from ldm_eval.cli.app import app
from ldm_eval.evaluate import Evaluation
from ldm_eval.gate import RuleResult, Verdict
from ldm_eval.run.config import RunConfig
from ldm_eval.run.progress import Progress
from ldm_eval.store.results import Results


def _verdict(status: Any) -> Verdict:
    rule = RuleResult(
        "copies", "privacy/near_copy_rate", "near_copy_rate", None, "at most 0.01", "block", status, "why", 0.01
    )
    return Verdict("strict", "ab" * 32, date(2026, 1, 2), "cd" * 32, (rule,), warnings=("chosen after [seeing] it",))


@pytest.fixture
def finished(results: Results, folder: Path, monkeypatch: pytest.MonkeyPatch) -> list[RunConfig]:
    """Replaces the evaluation; the configurations it was called with."""
    asked: list[RunConfig] = []

    def fake(config: RunConfig, progress: Progress) -> Evaluation:
        asked.append(config)
        with progress.stage("sampling", 2):
            progress.advance(2)
        sys.stdout.write("a library says hello\n")
        verdict = _verdict(config.policy) if config.policy else None
        return Evaluation(folder, results, verdict, folder / "MODEL_CARD.md")

    monkeypatch.setattr(sys.modules["ldm_eval.evaluate"], "evaluate_config", fake)
    return asked


def test_the_table_says_what_was_measured_and_what_was_not(finished: list[RunConfig]) -> None:
    done = CliRunner().invoke(app, ["run", "--model", "m.pt", "--samples", "5"], catch_exceptions=False)
    assert finished[0].model == "m.pt"
    assert finished[0].samples == 5
    lines = [line.split() for line in done.stdout.splitlines()]
    assert ["↓", "near_copy_rate", "0.01", "≤", "0.0234", "500", "–"] in lines
    assert "[bold]seven[/bold]" in done.stdout
    assert "[11.5, 13.25]" in done.stdout
    for reason in ("needs groups [see docs]", "ValueError: no", "members differ for another reason"):
        assert reason in done.stdout
    assert "ldm-eval[watermark]" in done.stdout
    assert "--limit was used" in done.stdout
    assert "MODEL_CARD.md" in done.stdout


def test_a_crashed_check_gives_exit_code_four(finished: list[RunConfig]) -> None:
    assert CliRunner().invoke(app, ["run", "--model", "m.pt"]).exit_code == 4


@pytest.mark.parametrize(
    ("status", "code", "word"), [("pass", 0, "PASSED"), ("fail", 1, "FAILED"), ("not_run", 3, "INCONCLUSIVE")]
)
def test_the_verdict_is_shown_and_decides_the_exit_code(
    status: str, code: int, word: str, results: Results, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    calm = dataclasses.replace(results, checks=results.checks[3:])
    done = Evaluation(folder, calm, _verdict(status), folder / "MODEL_CARD.md")
    monkeypatch.setattr(sys.modules["ldm_eval.evaluate"], "evaluate_config", lambda config, progress: done)
    shown = CliRunner().invoke(app, ["run", "--model", "m.pt", "--policy", "p.toml"])
    assert shown.exit_code == code
    assert word in shown.stdout
    assert "chosen after [seeing] it" in shown.stdout


def test_json_gives_three_keys_on_stdout_and_everything_else_on_stderr(
    finished: list[RunConfig], results: Results
) -> None:
    done = CliRunner().invoke(app, ["run", "--model", "m.pt", "--json"], catch_exceptions=False)
    document = json.loads(done.stdout)
    assert list(document) == ["schema_version", "measurements", "outcomes"]
    assert [m["name"] for m in document["measurements"]] == ["near_copy_rate", "frechet_distance"]
    assert "a library says hello" in done.stderr
    assert "near_copy_rate" in done.stderr


def test_what_a_library_writes_to_stdout_from_c_does_not_spoil_the_json(tmp_path: Path, folder: Path) -> None:
    source = (
        "import os, pathlib, sys, ldm_eval\n"
        "e = sys.modules['ldm_eval.evaluate']\n"
        "from ldm_eval.store.results import load_results\n"
        "def fake(config, progress):\n"
        "    os.write(1, b'noise from C\\n'); print('noise')\n"
        f"    folder = pathlib.Path({str(folder)!r})\n"
        "    return e.Evaluation(folder, load_results(folder), None, folder)\n"
        "e.evaluate_config = fake\n"
        "from ldm_eval.cli import main\n"
        "main(['run', '--model', 'm', '--json'])\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", source], capture_output=True, text=True, cwd=tmp_path, env=dict(os.environ), check=False
    )
    assert done.returncode == 4
    assert set(json.loads(done.stdout)) == {"schema_version", "measurements", "outcomes"}
    assert "noise from C" in done.stderr


def test_debug_reaches_the_run_wherever_it_stands(finished: list[RunConfig]) -> None:
    CliRunner().invoke(app, ["--debug", "run", "--model", "m.pt"])
    CliRunner().invoke(app, ["run", "--model", "m.pt", "--debug"])
    assert [config.debug for config in finished] == [True, True]
