"""``ldm-eval plugins``: which plugins are installed and what they offer; ``plugins new`` writes another."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from ldm_eval.cli import console
from ldm_eval.cli.discovery import PLUGIN_SETTINGS, discover
from ldm_eval.cli.settings import settings_options
from ldm_eval.errors import ConfigError
from ldm_eval.run.config import RunConfig

__all__ = ["group"]

group = typer.Typer(invoke_without_command=True, pretty_exceptions_enable=False)


@group.callback()
@settings_options(RunConfig, PLUGIN_SETTINGS)
def plugins(
    context: typer.Context,
    as_json: Annotated[bool, typer.Option("--json", help="A JSON array on stdout.")] = False,
    **given: Any,
) -> None:
    """List the installed plugins, what each offers, and the error of each that could not be loaded."""
    if context.invoked_subcommand is not None:
        if as_json:
            raise ConfigError(f"--json belongs to the list; 'plugins {context.invoked_subcommand}' has none.")
        context.obj = given
        return
    from ldm_eval.cli.inventory import plugins_document, plugins_table

    catalogue = discover(given)
    if as_json:
        console.document(plugins_document(catalogue.plugins))
    else:
        console.show(plugins_table(catalogue.plugins))


@group.command()
def new(
    context: typer.Context,
    name: Annotated[str, typer.Argument(metavar="NAME", help="e.g. blank-images", show_default=False)],
    output: Annotated[
        Path | None,
        typer.Option("--output", metavar="DIR", help="An empty or a new folder (default: NAME).", show_default=False),
    ] = None,
    family: Annotated[
        str,
        typer.Option(
            "--family", metavar="FAMILY", help="First half of the check's id (default: NAME).", show_default=False
        ),
    ] = "",
) -> None:
    """Write a plugin that works: a check with its phantoms, its tests and its page, to be grown into yours."""
    from ldm_eval.testing.scaffold import plugin_names, write_plugin

    names = plugin_names(name, family, discover(context.obj))
    folder = output or Path(names.plugin)
    for path in write_plugin(names, folder):
        console.line(str(path))
    console.note(f"The plugin {names.plugin} with the check {names.check}. Its README begins with three commands.")
