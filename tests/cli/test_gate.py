from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from ldm_eval.cli.app import app
from ldm_eval.store.results import Results, save_results


@pytest.fixture
def judged(results: Results, tmp_path: Path) -> Path:
    """The folder of a finished run in which nothing crashed and nothing was left out."""
    path = tmp_path / "whole"
    path.mkdir()
    save_results(dataclasses.replace(results, checks=results.checks[3:], partial=False), path)
    return path


def _policy(folder: Path, at_most: float, group: str = "") -> str:
    file = folder / "policy.toml"
    file.write_text(
        'schema_version = 1\nname = "strict"\n[[rules]]\nid = "copies"\ncheck = "privacy/near_copy_rate"\n'
        f'measurement = "near_copy_rate"\nat_most = {at_most}\n' + (f'group = "{group}"\n' if group else "")
    )
    return str(file)


@pytest.mark.parametrize(
    ("at_most", "group", "code", "word"),
    [(0.05, "", 0, "PASSED"), (0.02, "", 3, "INCONCLUSIVE"), (0.05, "nobody", 3, "not run")],
)
def test_the_exit_code_and_the_table_tell_the_answer(
    at_most: float, group: str, code: int, word: str, judged: Path
) -> None:
    done = CliRunner().invoke(app, ["gate", str(judged), "--policy", _policy(judged, at_most, group)])
    assert done.exit_code == code
    assert word in done.stdout
    assert f"near_copy_rate{' · nobody' if group else ''} at most {at_most}" in done.stdout


def test_json_is_the_verdict_that_is_stored(judged: Path) -> None:
    done = CliRunner().invoke(
        app, ["gate", str(judged), "--policy", _policy(judged, 0.05), "--as-of", "2026-02-03", "--json"]
    )
    document = json.loads(done.stdout)
    assert (document["status"], document["as_of"]) == ("pass", "2026-02-03")
    assert document == json.loads((judged / "gate.json").read_text())


def test_card_prints_the_path_of_the_card_alone(judged: Path) -> None:
    done = CliRunner().invoke(app, ["card", str(judged)], catch_exceptions=False)
    assert Path(done.stdout.strip()).read_text(encoding="utf-8").startswith("---")


@pytest.mark.parametrize("command", ["gate", "card"])
def test_results_json_may_be_named_instead_of_its_folder(command: str, judged: Path) -> None:
    policy = ["--policy", _policy(judged, 0.05)] if command == "gate" else []
    done = CliRunner().invoke(app, [command, str(judged / "results.json"), *policy], catch_exceptions=False)
    assert done.exit_code == 0
    assert (judged / "MODEL_CARD.md").is_file()
