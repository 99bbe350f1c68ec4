from __future__ import annotations

import io

import pytest
from rich.console import Console

from ldm_eval.cli import console, progress
from ldm_eval.cli.progress import LogProgress, TerminalProgress, clock


@pytest.mark.parametrize(
    ("seconds", "text"), [(4.23, "4.2 s"), (59.94, "59.9 s"), (190, "3 min 10 s"), (7500, "2 h 5 min")]
)
def test_time_is_told_as_people_tell_it(seconds: float, text: str) -> None:
    assert clock(seconds) == text


def test_a_log_gets_a_line_with_the_time_left_now_and_then(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    now = iter([0.0, 10.0, 40.0, 45.0, 100.0])
    monkeypatch.setattr(progress.time, "monotonic", lambda: next(now))
    shown = LogProgress()
    shown.start("sampling", 100)
    shown.advance(10)
    shown.detail("loss 0.5")
    shown.advance(10)
    shown.advance(10)
    shown.finish()
    assert capsys.readouterr().err.splitlines() == [
        "sampling: 20 of 100, about 2 min 40 s left (loss 0.5)",
        "sampling: 30 of 100, took 1 min 40 s (loss 0.5)",
    ]


def test_a_stage_that_did_nothing_says_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(ValueError, match="no"), progress.progress() as shown, shown.stage("training", 5):
        raise ValueError("no")
    assert capsys.readouterr().err == ""


def test_a_terminal_gets_bars_and_notes_above_them(monkeypatch: pytest.MonkeyPatch) -> None:
    written = io.StringIO()
    terminal = Console(file=written, force_terminal=True, width=80, highlight=False)
    monkeypatch.setattr(console, "_console", lambda to_stderr: terminal)
    with progress.progress() as shown:
        assert isinstance(shown, TerminalProgress)
        with shown.stage("sampling", 10):
            shown.note("half [way]")
            shown.detail("loss 0.5")
            shown.advance(10)
        shown.start("measuring", None)
        shown.advance()
    text = written.getvalue()
    assert "half [way]" in text
    assert "10/10" in text
    assert "loss 0.5" in text
    assert "measuring" in text
    assert text.rstrip().endswith("\x1b[?25h")  # the cursor is shown again, also when a stage was left open
