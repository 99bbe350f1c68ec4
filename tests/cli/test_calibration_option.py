"""``--calibration`` of gate and card: the certificate is read, kept with the run and cited."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import pytest
from click.testing import Result
from typer.testing import CliRunner

from ldm_eval.cli.app import app
from ldm_eval.store.certificate import Certificate, Instrument, save_certificate
from ldm_eval.store.results import Results, save_results

CHECK = "privacy/near_copy_rate"
PLUGIN = {"name": "privacy", "distribution": "ldm-eval", "version": "0.1.0"}


@pytest.fixture
def judged(results: Results, tmp_path: Path) -> Path:
    path = tmp_path / "whole"
    path.mkdir()
    save_results(dataclasses.replace(results, checks=results.checks[3:], partial=False, plugins=(PLUGIN,)), path)
    return path


@pytest.fixture
def policy(tmp_path: Path) -> str:
    file = tmp_path / "policy.toml"
    file.write_text(
        'schema_version = 1\nname = "strict"\nrequire_calibration = true\n[[rules]]\nid = "copies"\n'
        f'check = "{CHECK}"\nmeasurement = "near_copy_rate"\nat_most = 0.05\n'
    )
    return str(file)


def certificate(path: Path, version: str = "0.1.0") -> Path:
    instrument = Instrument(CHECK, "ldm-eval", "calibrated", (), ())
    made = Certificate({"name": "ldm-eval", "version": version}, (PLUGIN,), {}, 20, 0, (instrument,))
    save_certificate(made, path)
    return path


def call(*arguments: object) -> Result:
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


def test_the_gate_asks_for_a_certificate_takes_one_and_keeps_it(judged: Path, policy: str, tmp_path: Path) -> None:
    before = (judged / "results.json").read_bytes()
    without = call("gate", judged, "--policy", policy)
    assert without.exit_code == 4
    assert "ldm-eval calibrate" in without.stdout
    file = certificate(tmp_path / "mine.json")
    assert call("gate", judged, "--policy", policy, "--calibration", file).exit_code == 0
    assert (judged / "calibration.json").read_bytes() == file.read_bytes()
    file.unlink()
    again = call("gate", judged, "--policy", policy, "--json")
    assert again.exit_code == 0
    assert len(json.loads(again.stdout)["calibration"]) == 64
    assert (judged / "results.json").read_bytes() == before
    assert "## Calibration" in (judged / "MODEL_CARD.md").read_text(encoding="utf-8")


def test_a_certificate_of_an_older_version_does_not_do(judged: Path, policy: str, tmp_path: Path) -> None:
    file = certificate(tmp_path / "old.json", version="0.0.9")
    done = call("gate", judged, "--policy", policy, "--calibration", file)
    assert done.exit_code == 4
    assert "ldm-eval 0.0.9" in " ".join(done.stdout.split())


@pytest.mark.parametrize("command", ["gate", "card"])
@pytest.mark.parametrize(
    ("edit", "said"),
    [
        (lambda text: text.replace('"seeds": 20', '"seeds": 2000'), "changed after it was written"),
        (lambda text: text.replace('"seeds": 20', '"seeds": NaN'), "certificate that can be read"),
        (lambda text: text.replace('"name": "ldm-eval"', '"name": NaN'), "certificate that can be read"),
        (lambda text: text[:50], "not valid JSON"),
        (lambda text: "{}", "no calibration certificate"),
        (None, "There is no file"),
    ],
)
def test_what_is_no_certificate_is_bad_input_and_changes_nothing(
    command: str, edit: object, said: str, judged: Path, policy: str, tmp_path: Path
) -> None:
    file = certificate(tmp_path / "bad.json")
    file.write_text(edit(file.read_text())) if callable(edit) else file.unlink()
    done = call(command, judged, *(["--policy", policy] if command == "gate" else []), "--calibration", file)
    assert type(done.exception).__name__ == "ConfigError"
    assert f"--calibration {file}: " in str(done.exception)
    assert said in str(done.exception)
    assert [path.name for path in judged.iterdir()] == ["results.json"]


def test_the_card_takes_a_certificate_and_keeps_it(judged: Path, tmp_path: Path) -> None:
    assert call("card", judged).exit_code == 0
    plain = (judged / "MODEL_CARD.md").read_text(encoding="utf-8")
    assert "## Calibration" not in plain
    assert call("card", judged, "--calibration", certificate(tmp_path / "mine.json")).exit_code == 0
    assert call("card", judged).exit_code == 0
    assert f"`{CHECK}` | calibrated" in (judged / "MODEL_CARD.md").read_text(encoding="utf-8")
    (judged / "calibration.json").unlink()
    assert call("card", judged).exit_code == 0
    assert (judged / "MODEL_CARD.md").read_text(encoding="utf-8") == plain
