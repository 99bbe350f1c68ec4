"""A finished run as data, and a runner for the real command line in a process of its own."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from ldm_eval.api import Crashed, Interval, Invalid, Measured, Measurement, NotApplicable
from ldm_eval.cli import console
from ldm_eval.store.results import CheckRecord, Results, save_results

Call = Callable[..., "subprocess.CompletedProcess[str]"]


@pytest.fixture(autouse=True)
def _no_settings_from_outside(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    for name in list(os.environ):
        if name.startswith("LDM_EVAL_") or name in {"NO_COLOR", "FORCE_COLOR", "COLUMNS"}:
            monkeypatch.delenv(name)
    forget = console._console.cache_clear
    forget()
    yield
    forget()


@pytest.fixture
def call(tmp_path: Path) -> Call:
    """``call("list", "checks")`` runs ``python -m ldm_eval list checks`` in an empty folder."""

    def run(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", "ldm_eval", *arguments],
            capture_output=True,
            text=True,
            cwd=tmp_path,
            env={**os.environ, "OMP_NUM_THREADS": "1", **environment},
            timeout=120,
            check=False,
        )

    return run


@pytest.fixture
def results() -> Results:
    """One check of each outcome."""
    signature = {"sampler": "ddim", "steps": 50}
    rate = Measurement(
        "privacy/near_copy_rate",
        "near_copy_rate",
        0.01,
        Interval(0.0, 0.0234, 0.95, "Clopper-Pearson", "upper"),
        500,
        "share",
        "lower",
        signature,
    )
    distance = Measurement(
        "quality/frechet_distance",
        "frechet_distance",
        12.3456,
        Interval(11.5, 13.25, 0.95, "influence function"),
        1000,
        "squared feature distance",
        "lower",
        signature,
        group="[bold]seven[/bold]",
        floor=3.21,
    )
    return Results(
        tool={"name": "ldm-eval", "version": "0.1.0"},
        model={"name": "model", "sha256": "ab" * 32},
        run={"suites": ["all"]},
        data=(),
        plugins=(),
        checks=(
            CheckRecord("fairness/representation", "Representation", "?", NotApplicable("needs groups [see docs]")),
            CheckRecord("misuse/detectability", "Detectability", "?", Crashed("ValueError: no")),
            CheckRecord("privacy/membership_loss", "Membership", "?", Invalid("members differ for another reason")),
            CheckRecord("privacy/near_copy_rate", "Near copies", "?", Measured((rate,))),
            CheckRecord("quality/frechet_distance", "Fréchet distance", "?", Measured((distance,))),
        ),
        unavailable=({"check": "misuse/watermark", "reason": "needs x: pip install 'ldm-eval[watermark]'"},),
        artifacts={},
        partial=True,
        policy_digest=None,
        reproduce="ldm-eval run",
    )


@pytest.fixture
def folder(results: Results, tmp_path: Path) -> Path:
    """The folder of a finished run."""
    path = tmp_path / "finished"
    path.mkdir()
    save_results(results, path)
    return path
