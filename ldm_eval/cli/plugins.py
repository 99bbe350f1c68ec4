"""``ldm-eval plugins``: which plugins are installed, what they offer, and which could not be loaded."""

from __future__ import annotations

from typing import Annotated

import typer

from ldm_eval.cli import console

__all__ = ["plugins"]


def plugins(as_json: Annotated[bool, typer.Option("--json", help="A JSON array on stdout.")] = False) -> None:
    """List the installed plugins, what each offers, and the error of each that could not be loaded."""
    from ldm_eval.cli.inventory import plugins_document, plugins_table
    from ldm_eval.hooks.catalogue import Catalogue

    catalogue = Catalogue.discover()
    if as_json:
        console.document(plugins_document(catalogue.plugins))
    else:
        console.show(plugins_table(catalogue.plugins))
