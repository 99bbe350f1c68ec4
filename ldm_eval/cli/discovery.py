"""The catalogue for commands that run nothing: with the plugins that options and environment add or leave out."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ldm_eval.hooks.catalogue import Catalogue

__all__ = ["PLUGIN_SETTINGS", "discover"]

PLUGIN_SETTINGS = ("plugin", "disable_plugin")


def discover(given: Mapping[str, Any]) -> Catalogue:
    """Discover plugins as a run with these options and this environment would."""
    from ldm_eval.cli import console
    from ldm_eval.cli.settings import given_only
    from ldm_eval.hooks.catalogue import Catalogue
    from ldm_eval.run.config import resolve_config

    settings = {name: value for name, value in given_only(given).items() if name in PLUGIN_SETTINGS}
    config = resolve_config(settings, os.environ).config
    with console.only_results_on_stdout():  # a plugin may print while it is imported
        return Catalogue.discover(config.disable_plugin, config.plugin)
