"""``ldm-eval show``: the results of a finished run."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from ldm_eval.cli import console

__all__ = ["show"]


def show(
    folder: Annotated[
        Path, typer.Argument(metavar="DIR", exists=True, help="Folder of a finished run.", show_default=False)
    ],
    as_json: Annotated[
        bool, typer.Option("--json", help="{schema_version, measurements, outcomes} as JSON on stdout.")
    ] = False,
) -> None:
    """Show what a finished run measured."""
    from ldm_eval.cli.tables import results_document, results_tables
    from ldm_eval.store.results import load_results

    results = load_results(folder)
    if as_json:
        console.document(results_document(results))
    else:
        console.show(results_tables(results))
