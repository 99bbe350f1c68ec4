"""``ldm-eval audit``: people label some of the generated images, and what they say corrects the shares of all."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from ldm_eval.cli import console

__all__ = ["group"]

group = typer.Typer(
    help="Let people label generated images, and correct the shares of groups by it.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
)


@group.command()
def export(
    run: Annotated[Path, typer.Argument(metavar="RUN", help="Folder of a finished run.", show_default=False)],
    output: Annotated[Path, typer.Option("--output", metavar="DIR", help="A new or empty folder.", show_default=False)],
    images: Annotated[int, typer.Option("--images", metavar="N", help="How many images to draw.")] = 200,
    seed: Annotated[int, typer.Option("--seed", metavar="N", help="Seed of the draw.", min=0)] = 0,
) -> None:
    """Write images of a run, drawn at random, and a table in which people say what each shows.

    The classifier's own labels are not in the folder, so it can be given to whoever labels.
    """
    from ldm_eval.run.audit_folder import export_audit

    table = export_audit(run.expanduser(), output.expanduser(), images, seed)
    console.line(str(table))
    console.note(f"Fill in the column label ({table.parent / 'README.txt'}), then: ldm-eval audit import {output}")


@group.command("import")
def import_(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="Folder of an export.", show_default=False)],
    run: Annotated[
        Path | None, typer.Option("--run", metavar="RUN", help="Where the run lies now, if it was moved.")
    ] = None,
    level: Annotated[float, typer.Option("--level", metavar="X", help="At which all intervals hold together.")] = 0.95,
    as_json: Annotated[bool, typer.Option("--json", help="The result as JSON on stdout.")] = False,
) -> None:
    """Read a filled-in table: how the classifier errs on generated images, and the shares with that known.

    Nothing in the run is changed.
    """
    from ldm_eval.cli.audit_tables import audit_document, audit_tables
    from ldm_eval.errors import ConfigError
    from ldm_eval.run.audit_folder import read_audit
    from ldm_eval.stats.audited_shares import audit_report

    if not 0.5 <= level < 1:
        raise ConfigError(f"--level {level:g}: it is a number from 0.5 to below 1.")
    audit = read_audit(folder.expanduser(), run.expanduser() if run else None)
    report = audit_report(audit.labels, audit.rows, audit.people, level)
    if as_json:
        console.document(audit_document(audit, report))
    else:
        console.show(audit_tables(audit, report))
