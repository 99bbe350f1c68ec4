"""``ldm-eval calibrate``: exit codes, what is printed, and the certificate it writes."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from typer.testing import CliRunner

from ldm_eval.cli.app import app
from ldm_eval.store.certificate import load_certificate
from ldm_eval.testing import calibration

Call = Callable[..., "subprocess.CompletedProcess[str]"]
TRIALS = str(Path(__file__).parent.parent / "testing")


def test_a_calibrated_instrument_gives_a_table_a_certificate_and_exit_code_zero(call: Call, tmp_path: Path) -> None:
    done = call("calibrate", "--checks", "quality/frechet_distance,diffusion/bound", "--seeds", "10", COLUMNS="140")
    assert done.returncode == 0, done.stderr
    for text in (
        "quality/frechet_distance",
        "must catch: every feature shifted by 0.2",
        "≥ 95 %",
        "power 100 % [69.2, 100]",
        "false alarms 0 % [0, 30.8]",
        "zero-terminal-snr",
        "2 calibrated",
    ):
        assert text in done.stdout
    assert "2/2" in done.stderr
    certificate = load_certificate(tmp_path / "calibration.json")
    assert certificate.digest in done.stdout
    assert [one.name for one in certificate.instruments] == ["diffusion/bound", "quality/frechet_distance"]


def test_a_failed_instrument_gives_exit_code_one_and_its_name(call: Call, tmp_path: Path) -> None:
    done = call(
        *("calibrate", "--plugin", "trial_plugin", "--checks", "trial/constant,trial/good", "--seeds", "20"),
        *("--json", "--output", "c.json"),
        PYTHONPATH=TRIALS,
    )
    assert done.returncode == 1, done.stderr
    document = json.loads(done.stdout)
    assert document == json.loads((tmp_path / "c.json").read_text())
    assert {one["name"]: one["verdict"] for one in document["instruments"]} == {
        "trial/constant": "failed",
        "trial/good": "calibrated",
    }
    again = call(
        *("calibrate", "--plugin", "trial_plugin", "--checks", "trial/con*", "--seeds", "20"), PYTHONPATH=TRIALS
    )
    assert again.returncode == 1
    assert "1 failed: trial/constant" in again.stdout


def test_bad_input_is_two_and_nothing_is_written(call: Call, tmp_path: Path) -> None:
    for arguments, message in (
        (["--checks", "quality/frechet_distanc"], "Did you mean 'quality/frechet_distance'?"),
        (["--seeds", "3"], "cannot be told from a good one"),
        (["--output", "."], "this is a folder"),
        (["--jobs", "0"], "--jobs"),
        (["--timeout", "0"], "--timeout 0: a seed needs some time"),
        (["--plugin", "no_such_module"], "--plugin no_such_module: it cannot be loaded"),
    ):
        done = call("calibrate", *arguments)
        assert done.returncode == 2, done.stderr
        assert message in done.stderr
    assert list(tmp_path.iterdir()) == []


def test_the_full_calibration_says_its_time_beforehand(tmp_path: Path) -> None:
    done = CliRunner().invoke(
        app,
        [
            *("calibrate", "--full", "--seeds", "30", "--checks", "fairness/representation", "--jobs", "1"),
            *("--output", str(tmp_path / "c.json"), "--json"),
        ],
    )
    assert done.exit_code == 0, done.output
    first = done.stderr.splitlines()[0]
    assert first.startswith("1 instrument, 30 seeds per phantom, 1 process: about ")


def test_the_help_states_the_seeds_that_are_used(call: Call) -> None:
    shown = " ".join(call("calibrate", "--help", COLUMNS="200").stdout.split())
    assert f"default: {calibration.QUICK_SEEDS}, with --full {calibration.FULL_SEEDS}" in shown


def test_a_plugin_that_cannot_be_loaded_is_named_beside_the_results(call: Call, tmp_path: Path) -> None:
    """It is installed, so its entry point is there; nobody asked for it by name."""
    (tmp_path / "broken_trial.py").write_text("raise RuntimeError('half installed')\n", encoding="utf-8")
    package = tmp_path / "broken_trial-1.0.dist-info"
    package.mkdir()
    (package / "METADATA").write_text("Metadata-Version: 2.1\nName: broken-trial\nVersion: 1.0\n", encoding="utf-8")
    (package / "entry_points.txt").write_text("[ldm_eval]\nbroken-trial = broken_trial\n", encoding="utf-8")
    told = "The plugin 'broken-trial' cannot be loaded, so its checks are not calibrated: RuntimeError: half installed"
    done = call("calibrate", "--checks", "diffusion/bound", PYTHONPATH=str(tmp_path), COLUMNS="200")
    assert done.returncode == 0, done.stderr
    assert told in done.stdout
    assert told in done.stderr
    done = call("calibrate", "--checks", "broken/*", PYTHONPATH=str(tmp_path))
    assert done.returncode == 2
    assert "half installed" in done.stderr  # why there is no such instrument


@pytest.mark.skipif(os.name != "posix", reason="signals")
def test_ctrl_c_leaves_no_certificate_and_says_so(tmp_path: Path) -> None:
    process = subprocess.Popen(
        [
            sys.executable,
            "-m",
            "ldm_eval",
            "calibrate",
            "--checks",
            "diffusion/bound,trial/hangs",
            "--plugin",
            "trial_plugin",
        ],
        stderr=subprocess.PIPE,
        text=True,
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": TRIALS},
    )
    assert process.stderr is not None
    assert "diffusion/bound" in process.stderr.readline()  # one is done, the other never will be
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=30)
    assert process.returncode == 130
    assert "No certificate was written" in err
    assert list(tmp_path.iterdir()) == []
