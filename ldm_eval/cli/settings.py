"""Options made from the fields of a settings dataclass: names, types, defaults and help have one source.

Every option defaults to None, "not given", so that the settings' own resolver decides which source wins.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Collection, Mapping
from dataclasses import MISSING, Field, fields
from typing import Any, TypeVar, get_args, get_type_hints

import typer

__all__ = ["given_only", "settings_options"]

Command = TypeVar("Command", bound=Callable[..., None])

_PANELS: Mapping[str, tuple[str, ...]] = {
    "What to evaluate": ("model", "suite", "backend", "data", "holdout", "reference", "reference_statistics", "scores"),
    "Sampling": ("samples", "sampler", "steps", "guidance", "classes", "seed", "limit"),
    "Measuring": ("extractor", "extractor_weights", "attribute", "attribute_classifier", "check_timeout"),
    "Machine": ("device", "batch_size", "threads", "cache_dir", "offline"),
    "Results": ("policy", "calibration", "declared", "renderer", "output", "resume", "dry_run", "json", "debug"),
    "Plugins": ("plugin", "disable_plugin"),
}
_FLAGS = ("dry_run", "json", "debug")
"""Switches that have no opposite: there is no ``--no-dry-run``."""


def settings_options(
    settings: type[Any], names: Collection[str] = (), *, leave_out: Collection[str] = (), panels: bool = False
) -> Callable[[Command], Command]:
    """Give a command one option per field of ``settings``; the command receives them as ``**given``.

    Args:
        settings: A dataclass whose fields carry ``metadata["help"]``.
        names: Fields to take, all when empty.
        leave_out: Fields to leave out.
        panels: Group the options in the help.
    """
    hints = get_type_hints(settings)
    chosen = [f for f in fields(settings) if (not names or f.name in names) and f.name not in leave_out]
    if panels:
        order = [name for group in _PANELS.values() for name in group]
        chosen.sort(key=lambda f: order.index(f.name) if f.name in order else len(order))
    options = {f.name: _option(f, hints[f.name], panels) for f in chosen}

    def decorate(command: Command) -> Command:
        own = inspect.signature(command, eval_str=True)
        explicit = [p for p in own.parameters.values() if p.kind is not inspect.Parameter.VAR_KEYWORD]
        annotations = {p.name: p.annotation for p in explicit} | {n: _kind(hints[n]) for n in options}
        parameters = [p.replace(kind=inspect.Parameter.KEYWORD_ONLY) for p in explicit]
        parameters += [
            inspect.Parameter(n, inspect.Parameter.KEYWORD_ONLY, default=option, annotation=annotations[n])
            for n, option in options.items()
        ]
        parameters.sort(key=lambda p: p.name not in options)  # the explicit ones come last in the help
        command.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
        command.__annotations__ = {**annotations, "return": None}
        return command

    return decorate


def given_only(options: Mapping[str, Any]) -> dict[str, Any]:
    """The options the user typed; lists become comma-separated text."""
    typed = {name: value for name, value in options.items() if value is not None and value != []}
    return {name: ",".join(value) if isinstance(value, list) else value for name, value in typed.items()}


def _whole_number(text: str) -> int:
    try:
        return int(text)
    except ValueError:
        raise typer.BadParameter(f"must be a whole number; found '{text}'.") from None


def _count(text: str) -> int:
    if (number := _whole_number(text)) == 0:  # 0 stands for "not set" further in
        raise typer.BadParameter("must be 1 or more; found '0'. Leave it out to take the default.")
    return number


def _number(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        raise typer.BadParameter(f"must be a number; found '{text}'.") from None


_PARSERS: Mapping[Any, Callable[[str], Any]] = {int: _whole_number, float: _number}
"""typer's own messages do not say what was found."""

_COUNTS = ("samples", "steps")


def _kind(hint: Any) -> Any:
    """The option's type: ``int`` -> ``int | None``, ``tuple[str, ...]`` -> ``list[str] | None``."""
    return (list[str] if get_args(hint) else hint) | None


def _option(setting: Field[Any], hint: Any, panels: bool) -> Any:
    long = "--" + setting.name.replace("_", "-")
    declaration = f"{long}/--no-{long[2:]}" if hint is bool and setting.name not in _FLAGS else long
    panel = next((title for title, names in _PANELS.items() if setting.name in names), None)
    return typer.Option(
        None,
        declaration,
        help=setting.metadata["help"] + _default(setting),
        show_default=False,
        metavar=None if hint is bool else _metavar(setting.name, hint),
        parser=_count if setting.name in _COUNTS and setting.default == 0 else _PARSERS.get(hint),
        rich_help_panel=panel if panels else None,
        autocompletion=_COMPLETIONS.get(setting.name),
    )


def _default(setting: Field[Any]) -> str:
    """The default, for the help; empty where the help has said it, or where there is nothing to say."""
    default = setting.default
    if default is MISSING or default in ("", (), False) or "default:" in setting.metadata["help"]:
        return ""
    if default == 0 and setting.name != "seed":
        return ""
    shown = (
        ",".join(default) if isinstance(default, tuple) else f"{default:g}" if isinstance(default, float) else default
    )
    return f" (default: {'yes' if default is True else shown})"


def _metavar(name: str, hint: Any) -> str:
    if name in ("policy", "calibration", "declared", "reference_statistics"):
        return "FILE"
    special = {"model": "REF", "output": "PATH", "cache_dir": "DIR", "extractor_weights": "[NAME=]FILE[,…]"}
    if name in special:
        return special[name]
    if get_args(hint):
        return "NAME[,NAME…]"
    return {int: "N", float: "X"}.get(hint, "TEXT")


def _names(kind: str) -> Callable[[str], list[str]]:
    def complete(incomplete: str) -> list[str]:
        from ldm_eval.hooks.catalogue import Catalogue

        catalogue = Catalogue.discover()
        before, comma, last = incomplete.rpartition(",")
        known = [*getattr(catalogue, kind), *(["all"] if kind == "suites" else [])]
        return [before + comma + name for name in known if name.startswith(last)]

    return complete


_COMPLETIONS: Mapping[str, Callable[[str], list[str]]] = {
    "suite": _names("suites"),
    "backend": _names("backends"),
    "extractor": _names("extractors"),
    "attribute_classifier": _names("attribute_classifiers"),
    "trainer": _names("trainers"),
}
