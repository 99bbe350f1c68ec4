"""``ldm-eval card``: draw the model card of a finished run again."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from ldm_eval.cli import console

__all__ = ["card"]


def card(
    folder: Annotated[
        Path, typer.Argument(metavar="DIR", exists=True, help="Folder of a finished run.", show_default=False)
    ],
    declared: Annotated[
        Path | None, typer.Option("--declared", metavar="FILE", help="card.toml with what the author declares.")
    ] = None,
    calibration: Annotated[
        Path | None,
        typer.Option(
            "--calibration",
            metavar="FILE",
            help="Certificate from `ldm-eval calibrate`, kept with the run (default: the one that is there).",
        ),
    ] = None,
    renderer: Annotated[
        list[str] | None,
        typer.Option("--renderer", metavar="NAME", help="Write the report in this format too; may be given again."),
    ] = None,
) -> None:
    """Write MODEL_CARD.md of a finished run again, from its results alone; prints the path."""
    from ldm_eval.evaluate import render_folder

    with console.only_results_on_stdout():
        done = render_folder(folder, declared, renderer or (), calibration)
    for path in (done.card, *done.rendered):
        console.line(str(path))
