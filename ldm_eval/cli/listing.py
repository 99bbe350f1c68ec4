"""``ldm-eval list``: what the installed plugins offer."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from ldm_eval.cli import console
from ldm_eval.cli.discovery import PLUGIN_SETTINGS, discover
from ldm_eval.cli.settings import settings_options
from ldm_eval.run.config import RunConfig

__all__ = ["KINDS", "list_"]


KINDS = ("checks", "suites", "backends", "extractors", "datasets", "models", "trainers", "attribute-classifiers")


@settings_options(RunConfig, PLUGIN_SETTINGS)
def list_(
    kind: Annotated[
        str,
        typer.Argument(metavar="KIND", help=", ".join(KINDS), show_default=False, autocompletion=lambda: list(KINDS)),
    ],
    as_json: Annotated[bool, typer.Option("--json", help="A JSON array on stdout.")] = False,
    **given: Any,
) -> None:
    """List checks, suites, backends, extractors, datasets, models, trainers or attribute classifiers."""
    from ldm_eval.cli.inventory import inventory, inventory_table
    from ldm_eval.errors import ConfigError, did_you_mean

    if kind not in KINDS:
        raise ConfigError(f"Cannot list '{kind}'.{did_you_mean(kind, KINDS)} What can be listed: {', '.join(KINDS)}.")
    items = inventory(discover(given), kind)
    if as_json:
        console.document([item.to_json() for item in items])
    else:
        console.show(inventory_table(kind, items))
