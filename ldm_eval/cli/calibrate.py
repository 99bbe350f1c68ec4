"""``ldm-eval calibrate``: does each instrument see what it should, and stay quiet otherwise, on this machine?"""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ldm_eval.cli import console
from ldm_eval.cli.discovery import PLUGIN_SETTINGS, discover
from ldm_eval.cli.settings import settings_options
from ldm_eval.run.config import RunConfig

if TYPE_CHECKING:
    from ldm_eval.hooks.catalogue import Catalogue
    from ldm_eval.store.certificate import Instrument
    from ldm_eval.testing.calibration import Calibrator

__all__ = ["calibrate"]

FAILED = 1


@settings_options(RunConfig, PLUGIN_SETTINGS)
def calibrate(
    checks: Annotated[
        list[str] | None,
        typer.Option(
            "--checks", metavar="PATTERN[,PATTERN…]", help="Instruments, e.g. quality/*,diffusion/* (default: all)."
        ),
    ] = None,
    seeds: Annotated[
        int | None,
        typer.Option("--seeds", metavar="K", help="Seeds per phantom (default: 100, with --full 1000).", min=1),
    ] = None,
    first_seed: Annotated[
        int, typer.Option("--first-seed", metavar="S", help="First of the consecutive seeds.", min=0)
    ] = 0,
    output: Annotated[Path, typer.Option("--output", metavar="FILE", help="The certificate.")] = Path(
        "calibration.json"
    ),
    jobs: Annotated[
        int | None, typer.Option("--jobs", metavar="N", help="Processes at a time (default: all cores).", min=1)
    ] = None,
    patience: Annotated[
        float, typer.Option("--timeout", metavar="X", help="Seconds one seed may take before it counts as hung.")
    ] = 120.0,
    full: Annotated[
        bool, typer.Option("--full/--quick", help="Ten times the seeds; says beforehand how long it will take.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="The certificate as JSON on stdout.")] = False,
    **given: Any,
) -> None:
    """Put every instrument before what it must catch and what it must leave alone, and write a certificate.

    Exit code: 0 every instrument kept its promises, 1 one did not, 2 bad input.
    """
    from ldm_eval.cli.calibration_tables import certificate_tables
    from ldm_eval.cli.settings import given_only
    from ldm_eval.run.config import resolve_config
    from ldm_eval.store.certificate import save_certificate
    from ldm_eval.testing import calibration

    plugins = {name: value for name, value in given_only(given).items() if name in PLUGIN_SETTINGS}
    config = resolve_config(plugins, os.environ).config
    how = calibration.Calibrator(
        seeds=seeds or (calibration.FULL_SEEDS if full else calibration.QUICK_SEEDS),
        first_seed=first_seed,
        jobs=jobs or _cores(),
        patience=patience,
        disabled=config.disable_plugin,
        extra=config.plugin,
    )
    _refuse_unwritable(output)
    with console.only_results_on_stdout():
        catalogue = discover(given)
        missing = _cannot_be_loaded(catalogue, config.plugin)
        for sentence in missing:
            console.note(sentence)
        names = calibration.instrument_names(catalogue, [one for text in checks or () for one in text.split(",")])
        if full:
            _announce(calibration.estimated_seconds(catalogue, names, how), how, len(names))
        done = _Counter(len(names))
        certificate = calibration.calibrate(catalogue, names, how, done)
        save_certificate(certificate, output)
    if as_json:
        console.document(certificate.to_json())
    else:
        console.show(certificate_tables(certificate, missing))
        console.line(f"Certificate: {output}")
    raise typer.Exit(FAILED if certificate.failed else 0)


def _cannot_be_loaded(catalogue: Catalogue, asked_for: Sequence[str]) -> tuple[str, ...]:
    """A sentence for every plugin whose checks nobody can calibrate; one that was asked for by name is an error."""
    from ldm_eval.errors import ConfigError

    broken = [plugin for plugin in catalogue.plugins if plugin.error]
    for plugin in broken:
        if plugin.name in asked_for:
            raise ConfigError(
                f"--plugin {plugin.name}: it cannot be loaded, so there is nothing to calibrate: {plugin.error}"
            )
    return tuple(
        f"The plugin '{plugin.name}' cannot be loaded, so its checks are not calibrated: {plugin.error}"
        for plugin in broken
    )


def _cores() -> int:
    """Those that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _refuse_unwritable(output: Path) -> None:
    """Before minutes are spent."""
    from ldm_eval.errors import ConfigError

    if output.is_dir():
        raise ConfigError(f"--output {output}: this is a folder; name a file, e.g. {output / 'calibration.json'}.")
    there = next(folder for folder in output.absolute().parents if folder.exists())
    if not there.is_dir() or not os.access(there, os.W_OK):
        raise ConfigError(f"--output {output}: nothing can be written into {there}; name another place.")


def _announce(seconds: float, how: Calibrator, instruments: int) -> None:
    from ldm_eval.cli.progress import clock

    console.note(
        f"{_counted(instruments, 'instrument', 'instruments')}, {how.seeds} seeds per phantom, "
        f"{_counted(how.jobs, 'process', 'processes')}: about {clock(seconds)}, from one timed seed of each phantom."
    )


def _counted(count: int, one: str, many: str) -> str:
    return f"{count} {one if count == 1 else many}"


class _Counter:
    """Says on stderr which instrument is done."""

    def __init__(self, of: int) -> None:
        self._of, self._done = of, 0

    def __call__(self, instrument: Instrument) -> None:
        self._done += 1
        console.note(f"{self._done}/{self._of} {instrument.name}: {instrument.verdict}")
