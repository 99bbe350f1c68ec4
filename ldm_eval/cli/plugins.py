"""``ldm-eval plugins``: which plugins are installed, what they offer, and which could not be loaded."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from ldm_eval.cli import console
from ldm_eval.cli.discovery import PLUGIN_SETTINGS, discover
from ldm_eval.cli.settings import settings_options
from ldm_eval.run.config import RunConfig

__all__ = ["plugins"]


@settings_options(RunConfig, PLUGIN_SETTINGS)
def plugins(
    as_json: Annotated[bool, typer.Option("--json", help="A JSON array on stdout.")] = False, **given: Any
) -> None:
    """List the installed plugins, what each offers, and the error of each that could not be loaded."""
    from ldm_eval.cli.inventory import plugins_document, plugins_table

    catalogue = discover(given)
    if as_json:
        console.document(plugins_document(catalogue.plugins))
    else:
        console.show(plugins_table(catalogue.plugins))
