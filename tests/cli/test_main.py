from __future__ import annotations

import errno
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from ldm_eval import errors
from ldm_eval.cli import app, main


def _end(error: BaseException | None, arguments: list[str], monkeypatch: pytest.MonkeyPatch) -> Any:
    """The exit code of a command that ends with ``error``."""

    class Command:
        def main(self, given: list[str], **_: Any) -> int:
            self.given = given
            if error is not None:
                raise error
            return 0

    command = Command()
    monkeypatch.setattr(app, "command", lambda: command)
    with pytest.raises(SystemExit) as leaving:
        main(arguments)
    return leaving.value.code if error is not None else command.given


@pytest.mark.parametrize(
    ("kind", "code"),
    [
        (errors.ConfigError, 2),
        (errors.ModelError, 2),
        (errors.DataError, 2),
        (errors.PolicyError, 2),
        (errors.PluginError, 4),
        (errors.EvidenceError, 4),
        (errors.StoreError, 4),
    ],
)
def test_each_class_of_errors_has_its_exit_code_and_one_line(
    kind: type[errors.LdmEvalError], code: int, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert _end(kind("Asked for [x]; found y; do z."), ["show"], monkeypatch) == code
    shown = capsys.readouterr()
    assert shown.out == ""
    assert shown.err == "Error: Asked for [x]; found y; do z.\n"


@pytest.mark.parametrize("how", ["option", "environment"])
def test_debug_shows_the_traceback(
    how: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    if how == "environment":
        monkeypatch.setenv("LDM_EVAL_DEBUG", "1")
    arguments = ["show", "--debug"] if how == "option" else ["show"]
    assert _end(errors.DataError("no"), arguments, monkeypatch) == 2
    assert "Traceback (most recent call last)" in capsys.readouterr().err


def test_anything_else_is_a_defect_of_ours_and_never_looks_like_a_failed_gate(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert _end(KeyError("weights"), ["run"], monkeypatch) == 5
    shown = capsys.readouterr().err
    assert "defect of ldm-eval" in shown
    assert "--debug" in shown
    assert "Traceback" not in shown


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (OSError(errno.ENOSPC, "No space left on device"), "disk is full"),
        (MemoryError(), "--batch-size"),
    ],
)
def test_a_full_disk_or_memory_leaves_the_run_incomplete(
    error: Exception, words: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert _end(error, ["run"], monkeypatch) == 4
    assert words in capsys.readouterr().err


def test_an_interrupt_says_how_to_go_on(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    assert _end(KeyboardInterrupt(), ["run"], monkeypatch) == 130
    assert "to go on" in capsys.readouterr().err


def test_global_options_may_stand_anywhere_before_two_dashes(monkeypatch: pytest.MonkeyPatch) -> None:
    given = _end(None, ["show", "x", "--no-color", "--debug", "--", "--debug"], monkeypatch)
    assert given == ["--debug", "--no-color", "show", "x", "--", "--debug"]


@pytest.mark.skipif(os.name != "posix", reason="signals")
def test_ctrl_c_in_a_real_process_exits_with_130(tmp_path: Path) -> None:
    source = (
        "import sys, time, ldm_eval.cli.listing as listing, ldm_eval.hooks.catalogue as catalogue\n"
        "def wait(*a, **k): print('ready', file=sys.stderr, flush=True); time.sleep(60)\n"
        "catalogue.Catalogue.discover = wait\n"
        "from ldm_eval.cli import main\n"
        "main(['list', 'checks'])\n"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", source], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=tmp_path
    )
    assert process.stderr is not None
    assert process.stderr.readline() == "ready\n"
    time.sleep(0.1)
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=30)
    assert process.returncode == 130
    assert "Interrupted" in err
    assert "Traceback" not in err


@pytest.mark.skipif(os.name != "posix", reason="pipes")
@pytest.mark.parametrize("arguments", [["--help"], ["list", "checks"], ["list", "checks", "--json"]])
def test_a_reader_that_goes_away_is_no_failed_gate_and_no_traceback(arguments: list[str], tmp_path: Path) -> None:
    read, write = os.pipe()
    os.close(read)
    done = subprocess.run(
        [sys.executable, "-m", "ldm_eval", *arguments],
        stdout=write,
        stderr=subprocess.PIPE,
        text=True,
        cwd=tmp_path,
        check=False,
    )
    os.close(write)
    assert done.returncode == 141
    assert done.stderr == ""
