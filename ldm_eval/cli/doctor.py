"""``ldm-eval doctor``: is this machine able to evaluate a model?"""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from ldm_eval.cli import console

__all__ = ["doctor"]

UNUSABLE = 4


def doctor(as_json: Annotated[bool, typer.Option("--json", help="A JSON array on stdout.")] = False) -> None:
    """Look at Python, packages, devices, weights, disk and plugins; exit code 4 when a run could not work."""
    from ldm_eval.cli.discovery import discover
    from ldm_eval.cli.health import examine
    from ldm_eval.cli.tables import findings_table

    with console.only_results_on_stdout():
        findings = examine(discover({}), _cache_dir(), Path("reports").resolve())
    if as_json:
        console.document([asdict(finding) for finding in findings])
    else:
        console.show(findings_table(findings))
    raise typer.Exit(UNUSABLE if any(finding.state == "problem" for finding in findings) else 0)


def _cache_dir() -> Path:
    import os

    from ldm_eval.run.config import resolve_config
    from ldm_eval.run.embed import cache_dir

    return cache_dir(resolve_config({}, os.environ).config)
