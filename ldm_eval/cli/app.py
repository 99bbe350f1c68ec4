"""The root command: global options and the list of commands."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Annotated, Any

import typer
from typer.core import TyperGroup
from typer.main import get_command

from ldm_eval.cli import (
    audit,
    calibrate,
    card,
    compare,
    doctor,
    gate,
    listing,
    plan_policy,
    plugins,
    reference,
    run,
    sample,
    show,
    train,
)

__all__ = ["app", "command"]

FLOW = "run (sample → measure → results.json) → gate (policy → verdict) → card (MODEL_CARD.md)"
EXIT_CODES = (
    "Exit codes: 0 done and passed · 1 gate failed · 2 bad input · 3 inconclusive · 4 incomplete · "
    "5 defect of ldm-eval · 130 interrupted."
)

app = typer.Typer(
    name="ldm-eval",
    help=f"Decide, with error bars, whether a diffusion model may be released.\n\n{FLOW}",
    epilog=EXIT_CODES,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _print_version(wanted: bool) -> None:
    if wanted:
        from ldm_eval.cli import console
        from ldm_eval.version import installed_version

        console.line(f"ldm-eval {installed_version()}")
        raise typer.Exit


def _switch_colour_off(wanted: bool) -> None:
    if wanted:
        os.environ["NO_COLOR"] = "1"


@app.callback()
def root(
    version: Annotated[
        bool, typer.Option("--version", help="Print the version and stop.", is_eager=True, callback=_print_version)
    ] = False,
    debug: Annotated[bool, typer.Option("--debug", help="Show tracebacks (may stand anywhere).")] = False,
    no_color: Annotated[
        bool,
        typer.Option("--no-color", help="No colours (may stand anywhere).", is_eager=True, callback=_switch_colour_off),
    ] = False,
) -> None:
    """Decide, with error bars, whether a diffusion model may be released."""


_COMMANDS: dict[str, Callable[..., None]] = {
    "run": run.run,
    "gate": gate.gate,
    "card": card.card,
    "plan": plan_policy.plan,
    "show": show.show,
    "compare": compare.compare,
    "train": train.train,
    "sample": sample.sample,
    "reference": reference.reference,
    "list": listing.list_,
    "calibrate": calibrate.calibrate,
    "doctor": doctor.doctor,
}
for name, function in _COMMANDS.items():
    app.command(name, epilog=run.EPILOG if name == "run" else None)(function)
app.add_typer(audit.group, name="audit")
app.add_typer(plugins.group, name="plugins")


def command() -> Any:
    """The command that typer builds of all this."""
    built = get_command(app)
    if not isinstance(built, TyperGroup):  # cannot happen with more than one command
        raise TypeError(type(built).__name__)
    return built
