"""``ldm-eval compare``: what one model does better than another, with error bars."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ldm_eval.cli import console

if TYPE_CHECKING:
    from ldm_eval.gate.comparison import Comparison

__all__ = ["compare"]


def compare(
    folders: Annotated[
        list[Path],
        typer.Argument(
            metavar="A B [C…]", help="Folders of finished runs; the first is the baseline.", show_default=False
        ),
    ],
    across: Annotated[
        str,
        typer.Option(
            metavar="FIELD[,FIELD…]", help="Fields of the protocol that may differ: they are what is compared."
        ),
    ] = "",
    level: Annotated[float, typer.Option(metavar="X", help="Confidence level of the intervals.")] = 0.95,
    output: Annotated[
        Path | None, typer.Option(metavar="FILE.md", help="Write the comparison as Markdown.", dir_okay=False)
    ] = None,
    figure: Annotated[
        Path | None, typer.Option(metavar="FILE.png", help="Draw the differences of the first pair.", dir_okay=False)
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="The comparison as JSON on stdout.")] = False,
) -> None:
    """Compare finished runs, measurement by measurement; images that both share are paired.

    Only numbers of one protocol are compared, the others are listed with what differs. Exit code 4: nothing could be.
    """
    from ldm_eval.cli.comparison_tables import comparison_tables
    from ldm_eval.errors import ConfigError
    from ldm_eval.gate.comparison import compare as compared
    from ldm_eval.gate.comparison import load_side

    if len(folders) < 2:
        raise ConfigError("Name at least two folders of finished runs: ldm-eval compare A B.")
    first, *others = [load_side(folder) for folder in folders]
    fields = tuple(name.strip() for name in across.split(",") if name.strip())
    found = [compared(first, other, fields, level) for other in others]
    _write(found, output, figure)
    if as_json:
        console.document({"schema_version": 1, "comparisons": [one.to_json() for one in found]})
    else:
        console.show(comparison_tables(found))
    if not any(one.rows for one in found):
        raise typer.Exit(4)


def _write(found: list[Comparison], output: Path | None, figure: Path | None) -> None:
    from ldm_eval.report.comparison import comparison_markdown, draw_comparison
    from ldm_eval.store.atomic import write_bytes, write_text

    if output is not None:
        write_text(output, comparison_markdown(found))
    if figure is not None:
        write_bytes(figure, draw_comparison(found[0]))
