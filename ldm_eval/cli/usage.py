"""Mistakes on the command line itself: what typer found, as one line."""

from __future__ import annotations

from typing import Any

import typer

__all__ = ["is_usage_error", "usage_message"]


def is_usage_error(error: Exception) -> bool:
    """True for errors that typer raises while it reads the arguments, whichever click it carries."""
    family = next(kind for kind in typer.BadParameter.__mro__ if kind.__name__ == "ClickException")
    return isinstance(error, family)


def usage_message(error: Any) -> str:
    """What was wrong, and where to look; empty when the help has been printed instead."""
    context = getattr(error, "ctx", None)
    command = context.command_path if context else "ldm-eval"
    text = " ".join(error.format_message().split()).replace("Value error, ", "")
    if not text:
        return ""
    ending = "" if text.endswith((".", "?", ")")) else "."
    return f"{text}{ending} `{command} --help` lists what there is."
