"""``ldm-eval gate``: judge a finished run by a policy."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path
from typing import Annotated

import typer

from ldm_eval.cli import console

__all__ = ["gate"]


def gate(
    folder: Annotated[
        Path, typer.Argument(metavar="DIR", exists=True, help="Folder of a finished run.", show_default=False)
    ],
    policy: Annotated[Path, typer.Option("--policy", metavar="FILE", help="Gate policy (TOML).", show_default=False)],
    as_of: Annotated[
        datetime | None,
        typer.Option("--as-of", formats=["%Y-%m-%d"], metavar="DATE", help="Judge waivers as of this day, YYYY-MM-DD."),
    ] = None,
    calibration: Annotated[
        Path | None,
        typer.Option(
            "--calibration",
            metavar="FILE",
            help="Certificate from `ldm-eval calibrate`, kept with the run (default: the one that is there).",
        ),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="The verdict as JSON on stdout.")] = False,
) -> None:
    """Judge a finished run by a policy; nothing is sampled or measured again.

    Exit code: 0 passed, 1 failed, 3 inconclusive, 4 a check crashed, is not comparable or not calibrated.
    """
    from ldm_eval.cli.verdict import verdict_document, verdict_report
    from ldm_eval.evaluate import gate_folder

    with console.only_results_on_stdout():
        done = gate_folder(folder, policy, as_of.date() if as_of else None, calibration)
    if as_json:
        console.document(verdict_document(done))
    else:
        console.show(verdict_report(done))
    raise typer.Exit(done.exit_code)
